//! Ctrl-C, `kill` and a closed terminal: the signal goes on to the step that runs, the step ends,
//! and the command goes its usual way out, where the servers are stopped. A second signal kills the
//! step. No handler ends the process, so nothing is left behind.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::process::signal_group;

struct State {
    received: Option<i32>,
    /// Process group of the step that runs now.
    step: Option<u32>,
}

static STATE: Mutex<State> = Mutex::new(State { received: None, step: None });
static CHANGED: Condvar = Condvar::new();

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts to listen. Called once, before anything is started.
pub(crate) fn watch() -> Result<(), String> {
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(|error| format!("cannot listen for signals: {error}"))?;
    thread::spawn(move || {
        for signal in &mut signals {
            let mut state = state();
            let again = state.received.replace(signal).is_some();
            if let Some(group) = state.step {
                signal_group(group, if again { "KILL" } else { name(signal) });
            }
            CHANGED.notify_all();
        }
    });
    Ok(())
}

/// The signal that asked this process to end, if one did.
pub(crate) fn received() -> Option<i32> {
    state().received
}

/// `Err` once a signal asked this process to end.
pub(crate) fn check() -> Result<(), String> {
    match received() {
        Some(signal) => Err(format!("stopped by SIG{}", name(signal))),
        None => Ok(()),
    }
}

/// Waits for `time`, or less when a signal comes.
pub(crate) fn pause(time: Duration) {
    let state = state();
    if state.received.is_none() {
        drop(CHANGED.wait_timeout(state, time));
    }
}

/// Signals go to this process group until the guard is dropped.
pub(crate) struct Step;

impl Step {
    pub(crate) fn begin(group: u32) -> Self {
        let mut state = state();
        state.step = Some(group);
        if let Some(signal) = state.received {
            // It came between the last check and the start of the process.
            signal_group(group, name(signal));
        }
        Self
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        state().step = None;
    }
}

fn name(signal: i32) -> &'static str {
    match signal {
        SIGINT => "INT",
        SIGHUP => "HUP",
        _ => "TERM",
    }
}
