//! Running other programs: each in a process group of its own, so that a signal reaches it once and
//! from us, and with no standard input.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{
        fs::PermissionsExt as _,
        process::{CommandExt as _, ExitStatusExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::signals::{self, Step};

/// Runs a step to its end. The value is its exit code, 128 + n when signal n ended it.
pub(crate) fn run(command: &mut Command) -> Result<u8, String> {
    let mut child = begin(command)?;
    let _step = Step::begin(child.id());
    end(command, &mut child)
}

/// Runs a step and hands on each line of its standard output, which is printed too.
pub(crate) fn run_reading(command: &mut Command, mut line: impl FnMut(&str)) -> Result<u8, String> {
    let mut child = begin(command.stdout(Stdio::piped()))?;
    let _step = Step::begin(child.id());
    if let Some(stdout) = child.stdout.take() {
        for bytes in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            let text = String::from_utf8_lossy(&bytes);
            // A closed pipe downstream must not end the tests.
            let _ = writeln!(std::io::stdout(), "{text}");
            line(&text);
        }
    }
    end(command, &mut child)
}

/// Runs a step with its output in a file; the error has the file's last lines.
pub(crate) fn run_logged(command: &mut Command, log: &Path) -> Result<(), String> {
    let file = fs::File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
    let copy = file.try_clone().map_err(|error| format!("{}: {error}", log.display()))?;
    match run(command.stdout(file).stderr(copy))? {
        0 => Ok(()),
        code => Err(format!("`{}` ended with {code}: {} (log: {})", shown(command), last_lines(log, 3), log.display())),
    }
}

/// Standard output and error of a short question such as `--version`, or nothing if it failed.
pub(crate) fn ask(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).process_group(0).output().ok()?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    output.status.success().then_some(text)
}

fn begin(command: &mut Command) -> Result<Child, String> {
    signals::check()?;
    command
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("cannot start `{}`: {error}", shown(command)))
}

fn end(command: &Command, child: &mut Child) -> Result<u8, String> {
    let status = child.wait().map_err(|error| format!("`{}`: {error}", shown(command)))?;
    Ok(exit_code(status))
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// Waits for a child at most `time`. `None` means that it still runs; it is then waited for by a
/// thread, so that it does not stay a zombie.
pub(crate) fn wait_at_most(mut child: Child, time: Duration) -> Option<ExitStatus> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // Nobody listens any more when it ends late.
        let _ = sender.send(child.wait());
    });
    receiver.recv_timeout(time).ok()?.ok()
}

/// Sends a signal to a whole process group. A group that is gone is no error.
pub(crate) fn signal_group(group: u32, signal: &str) {
    kill(&format!("-{group}"), signal);
}

/// Sends a signal to one process. One that is gone is no error.
pub(crate) fn signal_process(process: u32, signal: &str) {
    kill(&process.to_string(), signal);
}

fn kill(target: &str, signal: &str) {
    // The shell's own `kill`: the program of that name is not on every machine, and std has none.
    let _ = Command::new("sh")
        .args(["-c", "kill -s \"$1\" -- \"$2\"", "sh", signal, target])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .status();
}

/// Where a program lies: on `PATH`, or in the folders of system programs, which may not be on it.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    find_in(name, &path).or_else(|| find_in(name, OsStr::new("/usr/local/sbin:/usr/sbin:/sbin")))
}

fn find_in(name: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|file| is_program(file))
}

pub(crate) fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// The command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let words: Vec<OsString> =
        std::iter::once(command.get_program()).chain(command.get_args()).map(OsStr::to_os_string).collect();
    words.join(OsStr::new(" ")).to_string_lossy().into_owned()
}

/// The last lines of a log that say anything, as one line.
pub(crate) fn last_lines(log: &Path, count: usize) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let start = lines.len().saturating_sub(count);
    lines.get(start..).unwrap_or_default().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_of_a_step_is_passed_on() {
        assert_eq!(run(Command::new("sh").args(["-c", "exit 7"])), Ok(7));
        assert_eq!(run(Command::new("sh").args(["-c", "kill -KILL $$"])), Ok(128 + 9));
    }

    #[test]
    fn a_program_that_is_missing_is_named() {
        let error = run(&mut Command::new("no-such-program")).expect_err("it is missing");
        assert!(error.contains("no-such-program"), "{error}");
    }

    #[test]
    fn lines_are_read_as_they_come() {
        let mut lines = Vec::new();
        let code = run_reading(Command::new("printf").arg("one\\ntwo\\n"), |line| {
            lines.push(line.to_owned());
        });
        assert_eq!((code, lines), (Ok(0), vec!["one".to_owned(), "two".to_owned()]));
    }

    #[test]
    fn a_failed_step_shows_the_end_of_its_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        let error = run_logged(Command::new("sh").args(["-c", "echo a; echo why >&2; exit 1"]), &log);
        assert!(error.clone().is_err_and(|text| text.contains("a | why")), "{error:?}");
    }

    #[test]
    fn a_signal_to_the_group_reaches_grandchildren() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo up; wait"]).stdout(Stdio::piped());
        let mut child = begin(&mut command).expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped"));
        lines.read_line(&mut String::new()).expect("it is up");
        signal_group(child.id(), "KILL");
        // The pipe ends when the last process that holds it is gone.
        assert_eq!(lines.read_line(&mut String::new()).expect("read"), 0);
        let status = wait_at_most(child, Duration::from_secs(60)).expect("it ended");
        assert_eq!(status.signal(), Some(9));
    }

    #[test]
    fn a_child_that_goes_on_is_reported_after_the_wait() {
        let child = begin(Command::new("sleep").arg("600")).expect("it starts");
        let group = child.id();
        assert_eq!(wait_at_most(child, Duration::from_millis(10)), None);
        signal_group(group, "KILL");
    }

    #[test]
    fn programs_are_found_on_the_path_only_where_they_can_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tool");
        fs::write(&file, "").expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("set");
        assert_eq!(find_in("tool", folder.path().as_os_str()), None);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("set");
        assert_eq!(find_in("tool", folder.path().as_os_str()), Some(file));
    }
}
