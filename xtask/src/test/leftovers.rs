//! Processes that a test started and did not stop. Everything below the tests carries the run's id in
//! its environment, so they are found whatever group or parent they have by now. Linux only.

use std::{fs, path::Path, time::Duration};

use crate::{process::signal_process, signals};

/// Stops what is left of a run and gives the names of what it stopped.
pub(super) fn stop(run: &str) -> Vec<String> {
    let found = find(run);
    for (process, _) in &found {
        signal_process(*process, "TERM");
    }
    for _ in 0..20 {
        if find(run).is_empty() {
            break;
        }
        signals::pause(Duration::from_millis(100));
    }
    for (process, _) in find(run) {
        signal_process(process, "KILL");
    }
    found.into_iter().map(|(process, name)| format!("{name} ({process})")).collect()
}

fn find(run: &str) -> Vec<(u32, String)> {
    let own = std::process::id();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let process = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(process) = process.filter(|process| *process != own) else { continue };
        if has_run(&fs::read(entry.path().join("environ")).unwrap_or_default(), run) {
            found.push((process, name(&entry.path())));
        }
    }
    found
}

fn has_run(environment: &[u8], run: &str) -> bool {
    let wanted = format!("NUDJ_TEST_RUN={run}");
    environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
}

fn name(process: &Path) -> String {
    fs::read_to_string(process.join("comm")).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        os::unix::process::{CommandExt as _, ExitStatusExt as _},
        process::{Command, Stdio},
    };

    use super::*;
    use crate::process::wait_at_most;

    #[test]
    fn only_the_very_run_is_meant() {
        assert!(has_run(b"A=b\0NUDJ_TEST_RUN=12-0\0", "12-0"));
        assert!(!has_run(b"NUDJ_TEST_RUN=12-01\0XNUDJ_TEST_RUN=12-0\0", "12-0"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_that_went_its_own_way_is_found_and_stopped() {
        let run = format!("test-{}", std::process::id());
        let mut child = Command::new("sh")
            .args(["-c", "echo up; read never"])
            .env("NUDJ_TEST_RUN", &run)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("it starts");
        let id = child.id();
        // The kernel shows the environment a moment after exec; a process that speaks has one, and keeps it while it runs nothing else.
        let _unwritten = child.stdin.take();
        let mut up = [0; 3];
        child.stdout.take().expect("piped").read_exact(&mut up).expect("it speaks");
        let stopped = stop(&run);
        assert!(stopped.len() == 1 && stopped[0].ends_with(&format!("({id})")), "{stopped:?}");
        let status = wait_at_most(child, Duration::from_secs(60)).expect("it ended");
        assert_eq!(status.signal(), Some(15), "asked before it is killed");
        assert_eq!(stop(&run), Vec::<String>::new());
    }
}
