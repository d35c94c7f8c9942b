//! A server's life: a free port, the process, the wait until it answers, the end.

use std::{
    fs, io,
    net::{Ipv4Addr, TcpListener},
    os::unix::{fs::chown, process::CommandExt as _},
    path::PathBuf,
    process::{Child, Stdio},
    time::Duration,
};

use super::{folder::Folder, recipes::Recipe};
use crate::{process, signals};

/// Another process may take a port between our look and the server's start.
const STARTS: usize = 3;
/// Times the wait between two questions: a minute at least, on a machine that is busy.
const QUESTIONS: usize = 600;
const BETWEEN: Duration = Duration::from_millis(100);
/// How long a server may take to end before it is killed.
const TO_STOP: Duration = Duration::from_secs(5);

/// A server process, stopped when dropped.
pub(super) struct Server {
    child: Option<Child>,
    port: u16,
    stop: &'static str,
    log: PathBuf,
}

/// Prepares the server's folder and starts it, without waiting for it.
pub(super) fn begin(recipe: &Recipe, folder: &Folder) -> Result<Server, String> {
    let own = own_folder(recipe, folder);
    let failed = |error: io::Error| format!("{}: {error}", own.display());
    fs::create_dir(&own).map_err(failed)?;
    if let Some(user) = recipe.user {
        chown(&own, Some(user.user), Some(user.group)).map_err(failed)?;
    }
    if let Some(prepare) = &recipe.prepare {
        prepare(&own)?;
    }
    spawn(recipe, folder)
}

/// Waits until the server answers; starts it again on another port if it ends before.
pub(super) fn ready(recipe: &Recipe, mut server: Server, folder: &Folder) -> Result<Server, String> {
    for start in 1..=STARTS {
        for _ in 0..QUESTIONS {
            signals::check()?;
            if server.has_ended()? {
                break;
            }
            // Asked only while it lives: what answers on a dead server's port is another's.
            if (recipe.is_ready)(server.port) && !server.has_ended()? {
                return Ok(server);
            }
            signals::pause(BETWEEN);
        }
        let why = process::last_lines(&server.log, 3);
        if !server.has_ended()? {
            return Err(format!("it does not answer on port {}: {why}", server.port));
        }
        if start == STARTS {
            return Err(format!("it ended at once, {STARTS} times: {why}"));
        }
        server = spawn(recipe, folder)?;
    }
    Err("it was never started".to_owned())
}

fn spawn(recipe: &Recipe, folder: &Folder) -> Result<Server, String> {
    let own = own_folder(recipe, folder);
    let log = own.with_extension("log");
    let failed = |error: io::Error| format!("{}: {error}", log.display());
    let output = fs::File::create(&log).map_err(failed)?;
    let errors = output.try_clone().map_err(failed)?;
    let port = free_port().map_err(|error| format!("no free port: {error}"))?;
    let mut command = (recipe.command)(port, &own)?;
    command
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .current_dir(&own)
        .env("NUDJ_TEST_RUN", folder.id())
        .process_group(0);
    let child = command.spawn().map_err(|error| format!("cannot start `{}`: {error}", process::shown(&command)))?;
    Ok(Server { child: Some(child), port, stop: recipe.stop, log })
}

fn own_folder(recipe: &Recipe, folder: &Folder) -> PathBuf {
    folder.path().join(recipe.name.to_ascii_lowercase().replace(' ', "-"))
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

impl Server {
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    fn has_ended(&mut self) -> Result<bool, String> {
        match self.child.as_mut().map(Child::try_wait) {
            Some(Ok(None)) => Ok(false),
            Some(Ok(Some(_))) | None => {
                // It was waited for; its group's number may soon be another's.
                self.child = None;
                Ok(true)
            }
            Some(Err(error)) => Err(error.to_string()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(child) = self.child.take() else { return };
        let group = child.id();
        process::signal_group(group, self.stop);
        process::wait_at_most(child, TO_STOP);
        // It did not end in time, or a child of its own did not.
        process::signal_group(group, "KILL");
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, process::Command};

    use super::*;

    fn recipe(script: &'static str, is_ready: fn(u16) -> bool) -> Recipe {
        Recipe {
            name: "Test server",
            version: String::new(),
            variable: "NONE",
            url: |port| port.to_string(),
            user: None,
            prepare: None,
            command: Box::new(move |_, _| {
                let mut command = Command::new("sh");
                command.args(["-c", script]);
                Ok(command)
            }),
            is_ready,
            stop: "TERM",
        }
    }

    #[test]
    fn a_server_that_ends_at_once_is_started_three_times_and_its_log_shown() {
        let folder = Folder::create().expect("a folder");
        let recipe = recipe("echo again >> starts; echo port taken; exit 1", |_| false);
        let server = begin(&recipe, &folder).expect("started");
        let error = ready(&recipe, server, &folder).err().expect("it ends");
        assert!(error.contains("3 times") && error.contains("port taken"), "{error}");
        let starts = fs::read_to_string(own_folder(&recipe, &folder).join("starts"));
        assert_eq!(starts.expect("written").lines().count(), STARTS);
    }

    #[test]
    fn dropped_servers_are_gone_with_their_children() {
        let folder = Folder::create().expect("a folder");
        // The server notes the polite signal; its child shrugs it off.
        let script = "trap 'echo > stopped; exit' TERM; (trap '' TERM; exec sleep 600 >pipe) & wait";
        let mut recipe = recipe(script, |_| true);
        recipe.prepare = Some(Box::new(|own| process::run(Command::new("mkfifo").arg(own.join("pipe"))).map(drop)));
        let server = begin(&recipe, &folder).expect("started");
        let server = ready(&recipe, server, &folder).expect("ready");
        // Opening waits for the child; the pipe ends when it is gone.
        let mut pipe = fs::File::open(own_folder(&recipe, &folder).join("pipe")).expect("opened");
        drop(server);
        assert!(own_folder(&recipe, &folder).join("stopped").exists());
        assert_eq!(pipe.read(&mut [0]).expect("read"), 0);
    }
}
