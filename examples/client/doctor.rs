//! `client doctor`: the checks to make before production, each with what to do about it.

use std::{
    error::Error as _,
    io::{ErrorKind, Write},
};

use http::{Method, StatusCode};
use nudj::{
    client::{Answer, Config, Error},
    tower::{circuit_breaker::State, round_robin::Origin},
    webhook::{Scheme, Verifier},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::{
    args::{Doctor, Global, SchemeName},
    connect,
    vaults::{self, Named},
};

/// A webhook secret shorter than this can be guessed.
const SHORT_SECRET: usize = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warning,
    Failed,
}

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    status: Verdict,
    /// The endpoint it is about, if it is about one.
    endpoint: Option<String>,
    found: String,
    fix: Option<String>,
}

#[derive(Serialize)]
struct Report<'c> {
    ok: bool,
    checks: &'c [Check],
}

/// All checks, in the order in which they were made.
#[derive(Debug, Default)]
struct Findings {
    checks: Vec<Check>,
    endpoint: Option<String>,
}

impl Findings {
    fn add(&mut self, name: &'static str, status: Verdict, found: impl Into<String>, fix: Option<&str>) {
        let (found, fix) = (found.into(), fix.map(str::to_owned));
        self.checks.push(Check { name, status, endpoint: self.endpoint.clone(), found, fix });
    }

    fn ok(&mut self, name: &'static str, found: impl Into<String>) {
        self.add(name, Verdict::Ok, found, None);
    }

    fn warn(&mut self, name: &'static str, found: impl Into<String>, fix: &str) {
        self.add(name, Verdict::Warning, found, Some(fix));
    }

    fn fail(&mut self, name: &'static str, found: impl Into<String>, fix: &str) {
        self.add(name, Verdict::Failed, found, Some(fix));
    }
}

pub(crate) async fn run(global: &Global, args: &Doctor) -> Result<bool, Error> {
    let config = connect::config(global)?;
    let mut findings = Findings::default();
    let token = token(vaults::named(&config.http, connect::variable), connect::token()?, &mut findings).await;
    let findings = examine(&config, token, args, findings).await;
    let ok = findings.checks.iter().all(|check| check.status != Verdict::Failed);
    match print(&Report { ok, checks: &findings.checks }, args.json) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::usage("stdout", error.to_string())),
        _ => Ok(ok),
    }
}

/// The token of the first vault that has one, else the environment's. Each vault that had none is named, also where the next one helped. One
/// whose address or keys cannot be is a failure in any case: no other command starts with it.
async fn token(vaults: Vec<Named>, environment: Option<SecretString>, findings: &mut Findings) -> Option<SecretString> {
    let mut made = Vec::new();
    for (name, provider) in vaults {
        match provider {
            Ok(provider) => made.push((name, provider)),
            Err(error) => {
                let found = format!("{name}: {}", whole(&error));
                findings.fail("vault", found, "correct its address or keys; no other command starts with these");
            }
        }
    }
    let mut without = Vec::new();
    let mut token = None;
    for (name, provider) in made {
        match provider.fetch().await {
            Ok(credential) => {
                findings.ok("vault", format!("a token came from {name}"));
                token = Some(credential.secret().clone());
                break;
            }
            Err(error) => without.push(format!("{name}: {}", whole(&*error))),
        }
    }
    let token = token.or(environment);
    for found in without {
        if token.is_some() {
            findings.warn("vault", found, "the next source has a token; correct this one's address, token or path");
        } else {
            findings.fail("vault", found, "correct its address, token or path, or set NUDJ_API_TOKEN");
        }
    }
    token
}

/// An error with all its causes: the first one's text alone may not say what to do.
fn whole(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

async fn examine(config: &Config, token: Option<SecretString>, args: &Doctor, mut findings: Findings) -> Findings {
    settings(config, &mut findings);
    webhook_secret(args, &mut findings);
    let origins = match config.origins().and_then(|origins| config.validate().map(|()| origins)) {
        Ok(origins) => origins,
        Err(error) => {
            findings.fail("configuration", error.to_string(), "correct the field that is named");
            return findings;
        }
    };
    findings.ok("configuration", "every field is in its range");
    let Some(token) = token else {
        findings.fail("credentials", "there is no token", "set NUDJ_API_TOKEN, or name a vault that has one");
        return findings;
    };
    for origin in &origins {
        findings.endpoint = Some(origin.name().to_string());
        host(config, origin, token.clone(), args, &mut findings).await;
    }
    findings
}

/// What can be said without a call.
fn settings(config: &Config, findings: &mut Findings) {
    match config.retry.max_retries {
        0 => findings.warn("retries", "off: one lost packet fails a call", "set retry.max_retries, 3 is usual"),
        most if config.retry.idempotency_keys => {
            findings.ok("retries", format!("up to {most}, with idempotency keys"));
        }
        most => findings.ok("retries", format!("up to {most}; POST and PATCH only where nothing can have happened")),
    }
    let limit = &config.rate_limit;
    findings.ok("limiter", format!("{} requests in {:?}", limit.max_requests, limit.window));
    let breaker = &config.circuit_breaker;
    findings.ok(
        "breaker settings",
        format!("opens after {} failures in a row, for {:?}", breaker.failure_threshold, breaker.open_for),
    );
}

fn webhook_secret(args: &Doctor, findings: &mut Findings) {
    const NAME: &str = "webhook secret";
    let Some(variable) = &args.secret_env else {
        return findings.warn(NAME, "not configured", "name its variable by --secret-env if webhooks are received");
    };
    let Ok(secret) = std::env::var(variable).map(SecretString::from) else {
        return findings.fail(NAME, format!("the environment has no readable {variable}"), "set it");
    };
    let scheme = match args.scheme {
        SchemeName::Nudj => Scheme::Nudj,
        SchemeName::Standard => Scheme::Standard,
    };
    let length = secret.expose_secret().len();
    match Verifier::new(scheme, [secret]) {
        Err(error) => findings.fail(NAME, error.to_string(), "copy it anew from where the webhook was made"),
        Ok(_) if length < SHORT_SECRET => {
            findings.warn(NAME, format!("only {length} characters long"), "make a longer one, at random");
        }
        Ok(_) => findings.ok(NAME, format!("{variable} can verify deliveries")),
    }
}

/// One endpoint: can it be reached safely, does it know the token, do the layers do their part?
async fn host(config: &Config, origin: &Origin, token: SecretString, args: &Doctor, findings: &mut Findings) {
    // Alone, so that no other endpoint stands in for it.
    let alone = Config { endpoints: vec![origin.name().to_string()], ..config.clone() };
    let client = match connect::builder(alone, Some(token), None).build() {
        Ok(client) => client,
        Err(error) => {
            let name = if error.kind().name() == "auth" { "credentials" } else { "configuration" };
            return findings.fail(name, error.to_string(), "correct what is named");
        }
    };
    let outcome = client.request(Method::GET, args.path.clone()).send().await;
    match (origin.is_plain(), origin.is_loopback(), &outcome) {
        (true, false, _) => findings.fail("tls", "plain http: the network can read the token", "use an https endpoint"),
        (true, true, _) => findings.warn("tls", "plain http to this machine", "use https for any other"),
        (false, _, Err(error)) if names_a_certificate(error) => findings.fail(
            "tls",
            "the certificate is not trusted or not for this host",
            "correct the endpoint's name, or name your own authority in http.ca_file",
        ),
        (false, _, Err(error)) if error.status().is_none() => {
            findings.warn("tls", "not known: there was no answer", "see health");
        }
        (false, ..) => findings.ok("tls", "the certificate is valid for this host"),
    }
    accepted(&outcome, &args.path, findings);
    correlation(&outcome, findings);
    let open = client.handles().breakers().iter().any(|breaker| breaker.state() != State::Closed);
    if open {
        findings.fail("breaker", "open after one call and its retries", "see health");
    } else {
        findings.ok("breaker", "closed");
    }
}

fn accepted(outcome: &Result<Answer, Error>, path: &str, findings: &mut Findings) {
    let status = match outcome {
        Ok(answer) => Some(answer.status()),
        Err(error) => error.status(),
    };
    match status {
        None => {
            let error = outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
            findings.fail("health", error, "is the address right, and may this machine reach it?");
            findings.warn("credentials", "not tried: there was no answer", "see health");
        }
        Some(StatusCode::UNAUTHORIZED) => {
            findings.ok("health", "answers");
            findings.fail(
                "credentials",
                "the token was refused",
                "use a token of this host's organisation; see auth.header for how it is sent",
            );
        }
        Some(status) if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            findings.fail("health", format!("answered {status} to every try"), "ask who runs it, or wait");
            findings.warn("credentials", "not known: the answer was an error", "see health");
        }
        Some(status) if status.is_success() => {
            findings.ok("health", "answers");
            findings.ok("credentials", "the token was accepted");
        }
        Some(status) => {
            findings.ok("health", "answers");
            findings.warn(
                "credentials",
                format!("{path} answered {status}, so that little is known of the token"),
                "give a path by --path that this token may read",
            );
        }
    }
}

fn correlation(outcome: &Result<Answer, Error>, findings: &mut Findings) {
    let id = match outcome {
        Ok(answer) => answer.context().correlation_id().and_then(|id| Some(id.to_str().ok()?.to_owned())),
        Err(error) => error.correlation_id().map(str::to_owned),
    };
    match id {
        Some(id) => findings.ok("correlation", format!("the call was sent as {id}")),
        None => findings.fail("correlation", "the call had no id", "report this: the stack always gives one"),
    }
}

fn names_a_certificate(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(current) = cause {
        if current.to_string().contains("certificate") {
            return true;
        }
        cause = current.source();
    }
    false
}

fn print(report: &Report<'_>, json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(report)?)?;
        return out.flush();
    }
    for check in report.checks {
        let status = match check.status {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failed => "FAILED",
        };
        let at = check.endpoint.as_ref().map(|endpoint| format!(" ({endpoint})")).unwrap_or_default();
        writeln!(out, "{status:<8} {:<17} {}{at}", check.name, check.found)?;
        if let Some(fix) = &check.fix {
            writeln!(out, "{:<26} -> {fix}", "")?;
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests;
