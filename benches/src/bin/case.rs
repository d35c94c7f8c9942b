//! Runs one case of `count`, for callgrind to count, in a program with nothing else in it.
//!
//! `case run NAME CALLS` · `case serve`: the server of the cases on the wire, which prints its address and ends with its standard input.

use std::{env, error::Error};

use nudj_benches::count::{run, serve};

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["run", case, calls] => run(case, calls.parse()?),
        ["serve"] => serve(),
        _ => Err("usage: case run NAME CALLS | case serve".into()),
    }
}
