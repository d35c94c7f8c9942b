//! The standalone client stands alone: a copy of it, as a package of its own, needs nothing but public items.

use std::{fs, path::Path, process::Command};

use crate::file;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// A dependency of the workspace as it stands in a package elsewhere.
fn resolved(name: &str, entry: &toml::Value, known: &toml::Table, root: &Path) -> toml::Value {
    let mut entry = entry.as_table().cloned().unwrap_or_default();
    if entry.remove("workspace").is_some() {
        let base = match &known[name] {
            toml::Value::String(version) => [("version".to_owned(), version.clone().into())].into_iter().collect(),
            base => base.as_table().unwrap().clone(),
        };
        for (key, value) in base {
            match (entry.get_mut(&key), value) {
                (Some(toml::Value::Array(here)), toml::Value::Array(there)) => here.extend(there),
                (_, value) => drop(entry.insert(key, value)),
            }
        }
    }
    if let Some(path) = entry.get("path").and_then(toml::Value::as_str) {
        let path = root.join(path).to_str().unwrap().to_owned();
        entry.insert("path".to_owned(), path.into());
        entry.remove("version");
    }
    entry.into()
}

#[test]
fn a_copy_of_the_example_client_builds_as_a_package_of_its_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap();
    let folder = tempfile::tempdir().unwrap();
    copy(&root.join("examples/client"), &folder.path().join("src"));

    let manifest: toml::Table = file("Cargo.toml").parse().unwrap();
    let known = manifest["workspace"]["dependencies"].as_table().unwrap();
    let dependencies: toml::Table = manifest["dev-dependencies"]
        .as_table()
        .unwrap()
        .iter()
        .map(|(name, entry)| match entry {
            toml::Value::String(_) => (name.clone(), entry.clone()),
            entry => (name.clone(), resolved(name, entry, known, &root)),
        })
        .collect();
    let mut copy = toml::Table::new();
    copy.insert(
        "package".to_owned(),
        toml::toml! {
            name = "client"
            version = "0.0.0"
            edition = "2024"
        }
        .into(),
    );
    copy.insert("workspace".to_owned(), toml::Table::new().into());
    copy.insert("dependencies".to_owned(), dependencies.into());
    copy.insert("profile".to_owned(), toml::toml! { dev = { debug = "line-tables-only" } }.into());
    fs::write(folder.path().join("Cargo.toml"), toml::to_string(&copy).unwrap()).unwrap();
    // The same versions as here, so that nothing is looked up and what is built already serves.
    fs::copy(root.join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();

    // The folder where this test was built: `target/debug/deps/<test>`.
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(3).unwrap();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["check", "--offline", "--quiet", "--target-dir"])
        .arg(target)
        .current_dir(folder.path())
        .env_remove("CARGO_MANIFEST_DIR")
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}
