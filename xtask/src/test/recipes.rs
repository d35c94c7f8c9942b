//! The servers that tests talk to: how each is started, asked and stopped.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    guard, probe,
    report::Report,
    tools::{self, Tool, Tools},
    user::{self, User},
};
use crate::process;

type Build = Box<dyn Fn(u16, &Path) -> Result<Command, String>>;
type Prepare = Box<dyn Fn(&Path) -> Result<(), String>>;

pub(super) struct Recipe {
    pub(super) name: &'static str,
    pub(super) version: String,
    /// The variable that tells the tests its address.
    pub(super) variable: &'static str,
    pub(super) url: fn(u16) -> String,
    /// Who it runs as, if not as we do; its folder is theirs.
    pub(super) user: Option<User>,
    /// Called once, before the first start.
    pub(super) prepare: Option<Prepare>,
    /// The command for a port and its own folder.
    pub(super) command: Build,
    pub(super) is_ready: fn(u16) -> bool,
    /// The signal that ends it.
    pub(super) stop: &'static str,
}

type Make = fn(&Tools) -> Result<Recipe, String>;

/// The recipes of all servers that can be started; the others are reported. The slow ones come first.
pub(super) fn all(tools: &Tools, report: &mut Report) -> Vec<Recipe> {
    let makers: [(&str, &str, Make); 5] = [
        ("moto", "NUDJ_TEST_AWS_ENDPOINT", moto),
        ("OAuth mock", "NUDJ_TEST_OAUTH_URL", oauth),
        ("PostgreSQL", "NUDJ_TEST_POSTGRES_URL", postgres),
        ("Redis", "NUDJ_TEST_REDIS_URL", redis),
        ("NATS", "NUDJ_TEST_NATS_URL", nats),
    ];
    let mut recipes = Vec::new();
    for (name, variable, make) in makers {
        if env::var_os(variable).is_some() {
            // Not shown: a URL may have a password in it.
            report.servers.push(format!("{name}: the one that {variable} names"));
            continue;
        }
        match make(tools) {
            Ok(recipe) => recipes.push(recipe),
            Err(error) => report.leave_out(name, Some(variable), &error),
        }
    }
    recipes
}

fn need(tools: &Tools, tool: Tool, name: &str) -> Result<PathBuf, String> {
    tools.get(tool).map(Path::to_path_buf).ok_or_else(|| format!("{name} is missing"))
}

fn redis(tools: &Tools) -> Result<Recipe, String> {
    let program = need(tools, Tool::Redis, "redis-server")?;
    Ok(Recipe {
        name: "Redis",
        version: tools::version(&program),
        variable: "NUDJ_TEST_REDIS_URL",
        url: |port| format!("redis://127.0.0.1:{port}"),
        user: None,
        prepare: None,
        command: Box::new(move |port, folder| {
            let mut command = guard::command(program.as_os_str(), "TERM", None)?;
            command.args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
            command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(folder);
            Ok(command)
        }),
        is_ready: probe::redis,
        stop: "TERM",
    })
}

fn nats(tools: &Tools) -> Result<Recipe, String> {
    let program = need(tools, Tool::Nats, "nats-server")?;
    Ok(Recipe {
        name: "NATS",
        version: tools::version(&program),
        variable: "NUDJ_TEST_NATS_URL",
        url: |port| format!("nats://127.0.0.1:{port}"),
        user: None,
        prepare: None,
        command: Box::new(move |port, folder| {
            let mut command = guard::command(program.as_os_str(), "TERM", None)?;
            command.args(["--addr", "127.0.0.1", "--port", &port.to_string()]);
            command.args(["--jetstream", "--store_dir"]).arg(folder);
            Ok(command)
        }),
        is_ready: probe::nats,
        stop: "TERM",
    })
}

fn postgres(tools: &Tools) -> Result<Recipe, String> {
    let programs = need(tools, Tool::Postgres, "PostgreSQL")?;
    let user = if user::is_root() {
        Some(user::unprivileged().ok_or("it does not run as root, and there is no other user")?)
    } else {
        None
    };
    let (initdb, server) = (programs.join("initdb"), programs.join("postgres"));
    Ok(Recipe {
        name: "PostgreSQL",
        version: tools::version(&server),
        variable: "NUDJ_TEST_POSTGRES_URL",
        url: |port| format!("postgres://postgres@127.0.0.1:{port}/postgres"),
        user,
        prepare: Some(Box::new(move |folder| {
            let mut command = guard::command(initdb.as_os_str(), "TERM", user)?;
            command
                .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"])
                .args(["--no-sync", "--no-instructions", "--pgdata"])
                .arg(folder.join("data"))
                .current_dir(folder);
            // Outside the folder, which is not ours.
            process::run_logged(&mut command, &folder.with_extension("initdb.log"))
        })),
        command: Box::new(move |port, folder| {
            let mut command = guard::command(server.as_os_str(), "QUIT", user)?;
            command.arg("-D").arg(folder.join("data")).args(["-p", &port.to_string()]);
            for setting in [
                "listen_addresses=127.0.0.1",
                "unix_socket_directories=",
                "max_connections=200",
                "wal_level=logical",
                "max_replication_slots=30",
                "max_wal_senders=30",
                // The data are thrown away.
                "fsync=off",
                "full_page_writes=off",
            ] {
                command.args(["-c", setting]);
            }
            Ok(command)
        }),
        is_ready: probe::postgres,
        // Immediate: a polite end would wait for replication clients.
        stop: "QUIT",
    })
}

fn moto(tools: &Tools) -> Result<Recipe, String> {
    let python = need(tools, Tool::Moto, "the virtual environment")?;
    let question = "import importlib.metadata as m; print(m.version('moto'))";
    let version = process::ask(Command::new(&python).args(["-c", question]))
        .ok_or_else(|| format!("{} has no moto", python.display()))?;
    Ok(Recipe {
        name: "moto",
        version: version.trim().to_owned(),
        variable: "NUDJ_TEST_AWS_ENDPOINT",
        url: |port| format!("http://127.0.0.1:{port}"),
        user: None,
        prepare: None,
        command: Box::new(move |port, _| {
            let mut command = guard::command(python.as_os_str(), "TERM", None)?;
            command.args(["-m", "moto.server", "--host", "127.0.0.1", "--port", &port.to_string()]);
            Ok(command)
        }),
        is_ready: probe::moto,
        stop: "TERM",
    })
}

fn oauth(tools: &Tools) -> Result<Recipe, String> {
    let node = need(tools, Tool::Node, "node")?;
    let modules = need(tools, Tool::NodeModules, "the folder of npm packages")?;
    let manifest = modules.join("oauth2-mock-server/package.json");
    let text = fs::read(&manifest).map_err(|error| format!("{}: {error}", manifest.display()))?;
    let manifest: serde_json::Value =
        serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", manifest.display()))?;
    let program = modules.join(".bin/oauth2-mock-server");
    Ok(Recipe {
        name: "OAuth mock",
        version: manifest["version"].as_str().unwrap_or("of unknown version").to_owned(),
        variable: "NUDJ_TEST_OAUTH_URL",
        // By name, as its issuer and its metadata spell it.
        url: |port| format!("http://localhost:{port}"),
        user: None,
        prepare: None,
        command: Box::new(move |port, _| {
            let mut command = guard::command(node.as_os_str(), "TERM", None)?;
            command.arg(&program).args(["-a", "127.0.0.1", "-p", &port.to_string()]);
            Ok(command)
        }),
        is_ready: probe::oauth,
        stop: "TERM",
    })
}
