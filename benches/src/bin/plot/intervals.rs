use std::fmt::Write as _;

use crate::{BoxError, svg};

const LEFT: f64 = 260.0;
const RIGHT: f64 = 720.0;
const STEP: f64 = 24.0;
/// Of the ratio to raw.
const SCALE: (f64, f64) = (0.4, 2.4);

fn place(ratio: f64) -> f64 {
    LEFT + (ratio.clamp(SCALE.0, SCALE.1) - SCALE.0) / (SCALE.1 - SCALE.0) * (RIGHT - LEFT)
}

/// Calls per second against raw, a dot for the median and a bar for its 95 % interval.
pub(crate) fn draw(rows: &[Vec<String>]) -> Result<String, BoxError> {
    let (mut inside, mut y, mut setting) = (String::new(), 40.0, "");
    for row in rows {
        let [of, contender, median, low, high, ..] = &row[..] else {
            return Err("expected a row of the wire's CSV".into());
        };
        let (median, low, high): (f64, f64, f64) = (median.parse()?, low.parse()?, high.parse()?);
        if of != setting {
            setting = of;
            y += STEP * 1.4;
            writeln!(inside, "<text x=\"16\" y=\"{y:.1}\" font-weight=\"bold\">{setting}</text>")?;
        }
        y += STEP;
        let colour = if contender.starts_with("the whole stack") { "#0b6e99" } else { "#6b6b6b" };
        writeln!(inside, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{contender}</text>", LEFT - 12.0, y + 4.0)?;
        writeln!(
            inside,
            "<path d=\"M{:.1} {y:.1}H{:.1}\" stroke=\"{colour}\" stroke-width=\"3\"/>",
            place(low),
            place(high)
        )?;
        writeln!(inside, "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"{colour}\"/>", place(median))?;
        writeln!(inside, "<text x=\"{:.1}\" y=\"{:.1}\">{median:.2}</text>", RIGHT + 8.0, y + 4.0)?;
    }
    let bottom = y + STEP;
    let mut scale = String::new();
    for tenth in (4..=24).step_by(2) {
        let (ratio, x) = (f64::from(tenth) / 10.0, place(f64::from(tenth) / 10.0));
        let colour = if tenth == 10 { "#555555" } else { "#e3e3e3" };
        writeln!(scale, "<path d=\"M{x:.1} 44V{bottom:.1}\" stroke=\"{colour}\"/>")?;
        writeln!(scale, "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{ratio:.1}</text>", bottom + 18.0)?;
    }
    Ok(svg(780, (bottom + 34.0) as u32, "Calls per second, raw hyper-util = 1", &(scale + &inside)))
}
