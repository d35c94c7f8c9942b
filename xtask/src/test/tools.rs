//! The programs that tests need: found, or installed by apt when this runs as root.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Variables, apt, caches, report::Report};
use crate::{process, signals};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tool {
    Redis,
    Nats,
    /// The folder of PostgreSQL's programs.
    Postgres,
    Chromium,
    Promtool,
    Node,
    Npm,
    /// A Python that can make virtual environments.
    Python,
    /// The folder of the installed npm packages.
    NodeModules,
    /// The Python of the virtual environment with moto.
    Moto,
}

struct Wanted {
    tool: Tool,
    name: &'static str,
    variable: Option<&'static str>,
    packages: &'static [&'static str],
    find: fn() -> Option<PathBuf>,
}

const NODE_MODULES: &str = "NUDJ_TEST_NODE_MODULES";
const PYTHON: &str = "NUDJ_TEST_PYTHON";

const WANTED: [Wanted; 8] = [
    Wanted {
        tool: Tool::Redis,
        name: "redis-server",
        variable: Some("NUDJ_TEST_REDIS_SERVER"),
        packages: &["redis-server"],
        find: || process::find_program("redis-server"),
    },
    Wanted {
        tool: Tool::Nats,
        name: "nats-server",
        variable: Some("NUDJ_TEST_NATS_SERVER"),
        packages: &["nats-server"],
        find: || process::find_program("nats-server"),
    },
    Wanted {
        tool: Tool::Postgres,
        name: "PostgreSQL's programs",
        variable: Some("NUDJ_TEST_POSTGRES_BIN"),
        packages: &["postgresql"],
        find: || postgres_in(Path::new("/usr/lib/postgresql")).or_else(postgres_on_path),
    },
    Wanted {
        tool: Tool::Chromium,
        name: "chromium",
        variable: Some("NUDJ_TEST_CHROMIUM"),
        packages: &["chromium"],
        find: || ["chromium", "chromium-browser", "google-chrome"].iter().find_map(|name| process::find_program(name)),
    },
    Wanted {
        tool: Tool::Promtool,
        name: "promtool",
        variable: Some("NUDJ_TEST_PROMTOOL"),
        packages: &["prometheus"],
        find: || process::find_program("promtool"),
    },
    Wanted {
        tool: Tool::Node,
        name: "node",
        variable: None,
        packages: &["nodejs"],
        find: || process::find_program("node"),
    },
    Wanted { tool: Tool::Npm, name: "npm", variable: None, packages: &["npm"], find: || process::find_program("npm") },
    Wanted {
        tool: Tool::Python,
        name: "python3 with venv",
        variable: None,
        packages: &["python3-venv"],
        find: python_with_venv,
    },
];

/// Where each tool lies. One that is absent was reported.
#[derive(Default)]
pub(super) struct Tools(BTreeMap<Tool, PathBuf>);

impl Tools {
    pub(super) fn get(&self, tool: Tool) -> Option<&Path> {
        self.0.get(&tool).map(PathBuf::as_path)
    }

    /// Finds every tool, installs what is missing if it may, and sets the tools' variables.
    pub(super) fn provide(
        install: bool,
        target: &Path,
        variables: &mut Variables,
        report: &mut Report,
    ) -> Result<Self, String> {
        let folder = target.join("xtask");
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut tools = Self::default();
        for (tool, variable) in [(Tool::NodeModules, NODE_MODULES), (Tool::Moto, PYTHON)] {
            if let Some(value) = env::var_os(variable) {
                tools.0.insert(tool, value.into());
            }
        }
        let node = caches::node(&folder);
        let venv = caches::venv(&folder);
        let wanted: Vec<&Wanted> = WANTED
            .iter()
            .filter(|wanted| match wanted.tool {
                Tool::Npm => !tools.0.contains_key(&Tool::NodeModules) && !node.is_current(),
                Tool::Python => !tools.0.contains_key(&Tool::Moto) && !venv.is_current(),
                _ => true,
            })
            .collect();
        let mut missing = Vec::new();
        for wanted in wanted {
            match given(wanted.variable)?.or_else(wanted.find) {
                Some(path) => tools.add(wanted, path),
                None => missing.push(wanted),
            }
        }
        let packages: Vec<&str> = missing.iter().flat_map(|wanted| wanted.packages).copied().collect();
        let why = apt::install(&packages, install, &folder, report)?;
        for wanted in missing {
            match (wanted.find)() {
                Some(path) => tools.add(wanted, path),
                None => report.leave_out(
                    wanted.name,
                    wanted.variable,
                    why.as_deref().unwrap_or("its package does not have it"),
                ),
            }
        }
        for (tool, cache, with) in [(Tool::NodeModules, node, Tool::Npm), (Tool::Moto, venv, Tool::Python)] {
            signals::check()?;
            if tools.0.contains_key(&tool) {
                continue;
            }
            match cache.provide(install, tools.get(with), report) {
                Ok(path) => drop(tools.0.insert(tool, path)),
                Err(error) => {
                    signals::check()?;
                    report.leave_out(cache.name(), Some(cache.variable()), &error);
                }
            }
        }
        tools.set(variables);
        tools.describe(report);
        Ok(tools)
    }

    fn add(&mut self, wanted: &Wanted, path: PathBuf) {
        self.0.insert(wanted.tool, path);
    }

    fn set(&self, variables: &mut Variables) {
        let with_variable = WANTED.iter().filter_map(|wanted| Some((wanted.tool, wanted.variable?)));
        for (tool, variable) in with_variable.chain([(Tool::NodeModules, NODE_MODULES), (Tool::Moto, PYTHON)]) {
            if let Some(path) = self.get(tool) {
                variables.insert(variable, path.into());
            }
        }
    }

    fn describe(&self, report: &mut Report) {
        for (tool, name) in [(Tool::Chromium, "Chromium"), (Tool::Promtool, "promtool"), (Tool::Node, "Node.js")] {
            if let Some(path) = self.get(tool) {
                report.tools.push(format!("{name} {} ({})", version(path), path.display()));
            }
        }
    }
}

/// What the variable names: a path, or a program on `PATH`.
fn given(variable: Option<&str>) -> Result<Option<PathBuf>, String> {
    let Some((name, value)) = variable.and_then(|name| Some((name, env::var_os(name)?))) else {
        return Ok(None);
    };
    let found = if value.as_encoded_bytes().contains(&b'/') {
        Some(PathBuf::from(&value)).filter(|path| path.exists())
    } else {
        value.to_str().and_then(process::find_program)
    };
    match found {
        Some(path) => Ok(Some(path)),
        None => Err(format!("{name} is set to {}, which is not there", value.display())),
    }
}

/// The programs of the newest version below Debian's folder.
fn postgres_in(folder: &Path) -> Option<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(folder)
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, programs)| is_postgres(programs))
        .collect();
    versions.sort();
    versions.pop().map(|(_, programs)| programs)
}

fn postgres_on_path() -> Option<PathBuf> {
    let folder = process::find_program("postgres")?.parent()?.to_path_buf();
    is_postgres(&folder).then_some(folder)
}

fn is_postgres(folder: &Path) -> bool {
    ["initdb", "postgres"].iter().all(|name| process::is_program(&folder.join(name)))
}

/// Debian's `python3` has no `ensurepip` until python3-venv is there; another one on `PATH` may.
fn python_with_venv() -> Option<PathBuf> {
    [process::find_program("python3"), Some("/usr/bin/python3".into())]
        .into_iter()
        .flatten()
        .find(|python| process::ask(Command::new(python).args(["-c", "import ensurepip, venv"])).is_some())
}

/// The version that a program tells, or "of unknown version".
pub(super) fn version(program: &Path) -> String {
    let text = process::ask(Command::new(program).arg("--version")).unwrap_or_default();
    version_in(&text).unwrap_or("of unknown version").to_owned()
}

/// The first thing in a text that looks like a version.
fn version_in(text: &str) -> Option<&str> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.')
        .map(|word| word.trim_matches('.'))
        .find(|word| word.contains('.') && word.split('.').all(|part| !part.is_empty()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn versions_are_read_from_what_programs_print() {
        for (text, version) in [
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0", Some("7.0.15")),
            ("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)", Some("15.13")),
            ("nats-server: v2.9.10\n", Some("2.9.10")),
            ("promtool, version 2.42.0+ds (branch: debian/sid)", Some("2.42.0")),
            ("v20.20.2", Some("20.20.2")),
            ("no number here... 7", None),
        ] {
            assert_eq!(version_in(text), version, "{text}");
        }
    }

    #[test]
    fn the_newest_complete_postgres_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        for (version, programs) in
            [("9", &["initdb", "postgres"][..]), ("15", &["initdb", "postgres"]), ("17", &["psql"])]
        {
            let bin = folder.path().join(version).join("bin");
            fs::create_dir_all(&bin).expect("made");
            for program in programs {
                let file = bin.join(program);
                fs::write(&file, "").expect("written");
                fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("set");
            }
        }
        assert_eq!(postgres_in(folder.path()), Some(folder.path().join("15/bin")));
        assert_eq!(postgres_in(&folder.path().join("none")), None);
    }
}
