use std::fmt::Write as _;

use crate::{BoxError, svg};

const COLOURS: [&str; 3] = ["#0b6e99", "#b5500b", "#6b6b6b"];
const LEFT: f64 = 70.0;
const RIGHT: f64 = 590.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 360.0;
/// The powers of ten that the scales span.
const KEYS: (i32, i32) = (0, 6);
const NANOS: (i32, i32) = (1, 4);

fn along(value: f64, (low, high): (i32, i32), from: f64, to: f64) -> f64 {
    from + (value.log10() - f64::from(low)) / f64::from(high - low) * (to - from)
}

/// Nanoseconds per call over the number of keys, both scales logarithmic.
pub(crate) fn draw(rows: &[Vec<String>]) -> Result<String, BoxError> {
    let mut lines: Vec<(&str, Vec<(f64, f64)>)> = Vec::new();
    for row in rows {
        let [what, keys, ns, _] = &row[..] else { return Err("expected what,keys,ns,bytes_per_key".into()) };
        let point = (keys.parse()?, ns.parse()?);
        match lines.iter_mut().find(|(name, _)| name == what) {
            Some((_, points)) => points.push(point),
            None => lines.push((what, vec![point])),
        }
    }
    let mut inside = String::new();
    for power in KEYS.0..=KEYS.1 {
        let x = along(10f64.powi(power), KEYS, LEFT, RIGHT);
        writeln!(inside, "<path d=\"M{x:.1} {TOP}V{BOTTOM}\" stroke=\"#e3e3e3\"/>")?;
        writeln!(
            inside,
            "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            BOTTOM + 20.0,
            10u64.pow(power.unsigned_abs())
        )?;
    }
    for power in NANOS.0..=NANOS.1 {
        let y = along(10f64.powi(power), NANOS, BOTTOM, TOP);
        writeln!(inside, "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"#e3e3e3\"/>")?;
        writeln!(
            inside,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{} ns</text>",
            LEFT - 8.0,
            y + 4.0,
            10u64.pow(power.unsigned_abs())
        )?;
    }
    for ((name, points), colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let places: Vec<_> =
            points.iter().map(|&(keys, ns)| (along(keys, KEYS, LEFT, RIGHT), along(ns, NANOS, BOTTOM, TOP))).collect();
        let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        writeln!(
            inside,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        )?;
        for (x, y) in &places {
            writeln!(inside, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>")?;
        }
        if let Some((_, y)) = places.last() {
            writeln!(inside, "<text x=\"{}\" y=\"{:.1}\" fill=\"{colour}\">{name}</text>", RIGHT + 10.0, y + 4.0)?;
        }
    }
    writeln!(
        inside,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">keys</text>",
        f64::midpoint(LEFT, RIGHT),
        BOTTOM + 42.0
    )?;
    Ok(svg(760, 420, "Nanoseconds per call, by number of keys", &inside))
}
