use std::{
    collections::BTreeMap,
    env, fs,
    process::{Command, Stdio},
};

use nudj_benches::count::Figure;
use nudj_tower::BoxError;

/// Adds user instructions per call. They are left out, and said to be, where valgrind is missing; when `CI` is set that is an error.
pub(crate) fn add(figures: &mut BTreeMap<String, Figure>) -> Result<(), BoxError> {
    let valgrind = Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !valgrind.is_ok_and(|status| status.success()) {
        if env::var_os("CI").is_some() {
            return Err("valgrind is missing, and CI is set; apt-get install valgrind".into());
        }
        eprintln!("left out: instructions (valgrind is missing; apt-get install valgrind)");
        return Ok(());
    }
    for (name, figure) in figures {
        figure.instructions = Some(instructions(name)?);
    }
    Ok(())
}

/// Only what happens within `counted` is counted: neither start, warm-up nor end.
fn instructions(case: &str) -> Result<u64, BoxError> {
    const CALLS: u64 = 1000;
    Ok(callgrind(case, CALLS)? / CALLS)
}

fn callgrind(case: &str, calls: u64) -> Result<u64, BoxError> {
    let out = env::temp_dir().join(format!("nudj-count-{}", std::process::id()));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--error-exitcode=9", "--collect-atstart=no", "--toggle-collect=*runner::counted*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(env::current_exe()?.with_file_name("case"))
        .args(["run", case, &calls.to_string()])
        .output()?;
    let text = fs::read_to_string(&out);
    // Left over only if it was never written.
    let _ = fs::remove_file(&out);
    if !output.status.success() {
        return Err(format!("{case} under valgrind: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = text?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ").or_else(|| line.strip_prefix("summary: ")));
    let total = total.and_then(|total| total.split_whitespace().next()).ok_or("callgrind wrote no total")?;
    Ok(total.parse()?)
}
