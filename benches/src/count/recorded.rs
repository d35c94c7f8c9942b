use std::{collections::BTreeMap, fmt, fs, path::PathBuf};

use nudj_tower::BoxError;
use serde::{Deserialize, Serialize};

/// How many instructions more than recorded are put down to another compiler or library: 5 %.
const TOLERANCE: f64 = 1.05;
/// Less than one allocation: how tasks take turns on the wire decides how many calls share a block.
const SHARED: f64 = 0.6;

/// The figures of all cases, by name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Recorded(pub BTreeMap<String, Figure>);

/// What one call costs.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// Heap allocations per call, to a tenth: what a call shares with others, such as a channel's block, is a part of one.
    pub allocations: f64,
    /// User instructions per call; absent where valgrind was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<u64>,
}

impl Recorded {
    /// Reads the recorded figures.
    ///
    /// # Errors
    /// When the file is missing or not in this form.
    pub fn load() -> Result<Self, BoxError> {
        let path = path();
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?)
    }

    /// Writes these figures in place of the recorded ones.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self) -> Result<(), BoxError> {
        let figures = toml::to_string(self)?;
        fs::write(path(), format!("# Per call, by `cargo xtask gate record`.\n\n{figures}"))?;
        Ok(())
    }

    /// One line for each figure of `now` that is worse than here, or that nobody recorded.
    #[must_use]
    pub fn worse(&self, now: &Self) -> Vec<String> {
        let mut worse = Vec::new();
        for (name, figure) in &now.0 {
            let Some(before) = self.0.get(name) else {
                worse.push(format!("{name} is not in recorded.toml; run `count record`"));
                continue;
            };
            if figure.allocations > before.allocations + SHARED {
                worse.push(format!(
                    "{name} allocates {} times a call, recorded {}",
                    figure.allocations, before.allocations
                ));
            }
            match (figure.instructions, before.instructions) {
                (Some(now), Some(before)) if now as f64 > before as f64 * TOLERANCE => {
                    worse.push(format!("{name} takes {now} instructions a call, recorded {before}"));
                }
                (Some(_), None) => {
                    worse.push(format!("{name} has no instructions in recorded.toml; run `count record`"))
                }
                _ => {}
            }
        }
        for name in self.0.keys().filter(|name| !now.0.contains_key(*name)) {
            worse.push(format!("{name} is in recorded.toml and was not measured"));
        }
        worse
    }
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<40} {:>11} {:>12}", "per call", "allocations", "instructions")?;
        for (name, figure) in &self.0 {
            let instructions = figure.instructions.map_or_else(|| "-".to_owned(), |count| count.to_string());
            writeln!(f, "{name:<40} {:>11.1} {instructions:>12}", figure.allocations)?;
        }
        Ok(())
    }
}

fn path() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "recorded.toml"].iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(allocations: f64, instructions: Option<u64>) -> Recorded {
        Recorded(BTreeMap::from([("case".to_owned(), Figure { allocations, instructions })]))
    }

    #[test]
    fn one_allocation_more_is_worse_and_one_less_is_not() {
        assert_eq!(of(2.0, None).worse(&of(3.0, None)), ["case allocates 3 times a call, recorded 2"]);
        assert_eq!(of(2.0, None).worse(&of(1.0, None)), <[String; 0]>::default());
    }

    #[test]
    fn instructions_may_grow_by_five_in_a_hundred() {
        assert_eq!(of(0.0, Some(1000)).worse(&of(0.0, Some(1050))), <[String; 0]>::default());
        assert_eq!(
            of(0.0, Some(1000)).worse(&of(0.0, Some(1051))),
            ["case takes 1051 instructions a call, recorded 1000"]
        );
    }

    #[test]
    fn a_case_must_be_on_both_sides() {
        assert_eq!(Recorded::default().worse(&of(0.0, None)).len(), 1);
        assert_eq!(of(0.0, None).worse(&Recorded::default()).len(), 1);
        assert_eq!(of(0.0, None).worse(&of(0.0, Some(9))).len(), 1);
    }
}
