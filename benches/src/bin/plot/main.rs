//! Draws the figures that `keys` and `wire` wrote: `plot keys FILE.csv`, `plot wire FILE.csv`; the SVG goes to standard output.

mod growth;
mod intervals;

use std::{env, error::Error, fs};

type BoxError = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), BoxError> {
    let args: Vec<String> = env::args().skip(1).collect();
    let svg = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["keys", file] => growth::draw(&read(file)?)?,
        ["wire", file] => intervals::draw(&read(file)?)?,
        _ => return Err("usage: plot keys FILE.csv | plot wire FILE.csv".into()),
    };
    print!("{svg}");
    Ok(())
}

/// The rows under the heading; a field in quotes may hold commas.
fn read(file: &str) -> Result<Vec<Vec<String>>, BoxError> {
    let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    Ok(text.lines().skip(1).map(fields).collect())
}

fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => {
                if let Some(field) = fields.last_mut() {
                    field.push(other);
                }
            }
        }
    }
    fields
}

/// The frame of a picture, readable on light and on dark ground.
fn svg(width: u32, height: u32, title: &str, inside: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"13\" \
         role=\"img\" aria-label=\"{title}\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"24\" font-size=\"16\" font-weight=\"bold\">{title}</text>\n{inside}</svg>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::fields;

    #[test]
    fn a_comma_in_quotes_is_part_of_the_field() {
        assert_eq!(fields("\"a, b\",2,"), ["a, b", "2", ""]);
    }
}
