//! What `cargo metadata` knows of this workspace.

use std::{
    env,
    ffi::OsString,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::Value;

/// The workspace this command was called in.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) packages: Vec<Package>,
}

pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    /// Sorted, `default` included.
    pub(crate) features: Vec<String>,
    pub(crate) has_library: bool,
    pub(crate) targets: Vec<Target>,
}

pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) file: PathBuf,
    /// Whether `cargo test` builds and runs it.
    pub(crate) tested: bool,
    pub(crate) is_build_script: bool,
    pub(crate) is_library: bool,
}

impl Workspace {
    pub(crate) fn read() -> Result<Self, String> {
        let output = cargo()
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("cannot start cargo: {error}"))?;
        if !output.status.success() {
            return Err("`cargo metadata` failed".to_owned());
        }
        let value: Value =
            serde_json::from_slice(&output.stdout).map_err(|error| format!("`cargo metadata`: {error}"))?;
        Self::parse(&value).ok_or_else(|| "`cargo metadata` printed an unknown form".to_owned())
    }

    fn parse(value: &Value) -> Option<Self> {
        let mut packages: Vec<Package> =
            value["packages"].as_array()?.iter().map(Package::parse).collect::<Option<_>>()?;
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        Some(Self {
            root: value["workspace_root"].as_str()?.into(),
            target: value["target_directory"].as_str()?.into(),
            packages,
        })
    }
}

impl Package {
    fn parse(value: &Value) -> Option<Self> {
        let manifest = PathBuf::from(value["manifest_path"].as_str()?);
        // The map of serde_json is sorted.
        let features = value["features"].as_object()?.keys().cloned().collect();
        let targets: Vec<Target> = value["targets"].as_array()?.iter().map(Target::parse).collect::<Option<_>>()?;
        Some(Self {
            name: value["name"].as_str()?.to_owned(),
            folder: manifest.parent()?.to_path_buf(),
            features,
            has_library: targets.iter().any(|target| target.is_library),
            targets,
        })
    }
}

impl Target {
    fn parse(value: &Value) -> Option<Self> {
        let kinds = value["kind"].as_array()?;
        let is = |name: &str| kinds.iter().any(|kind| kind == name);
        Some(Self {
            name: value["name"].as_str()?.to_owned(),
            file: value["src_path"].as_str()?.into(),
            tested: value["test"].as_bool()?,
            is_build_script: is("custom-build"),
            is_library: is("lib") || is("rlib") || is("proc-macro"),
        })
    }
}

/// The cargo that runs this command.
pub(crate) fn cargo_program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// A call of cargo.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(cargo_program());
    forget_own_package(&mut command);
    command
}

/// Takes away the variables that `cargo run` set for this program: some build scripts (ring's) watch
/// them, and would run again each time.
pub(crate) fn forget_own_package(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
}

/// Whether this runs in CI, where nothing may be left out.
pub(crate) fn in_ci() -> bool {
    env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false" && value != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_the_metadata_that_we_use_are_read() {
        let value = serde_json::json!({
            "workspace_root": "/w", "target_directory": "/w/target",
            "packages": [{
                "name": "b", "manifest_path": "/w/b/Cargo.toml",
                "features": {"z": [], "default": ["z"]},
                "targets": [{"name": "b", "kind": ["lib"], "src_path": "/w/b/src/lib.rs", "test": true}],
            }, {"name": "a", "manifest_path": "/w/a/Cargo.toml", "features": {}, "targets": []}],
        });
        let workspace = Workspace::parse(&value).expect("it is complete");
        let names: Vec<&str> = workspace.packages.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        let package = &workspace.packages[1];
        assert_eq!(package.features, ["default", "z"]);
        assert!(package.targets[0].tested && !package.targets[0].is_build_script);
    }

    #[test]
    fn an_unknown_form_is_no_workspace() {
        assert!(Workspace::parse(&serde_json::json!({"packages": [{}]})).is_none());
    }
}
