//! `cargo xtask lint-names`: a module is named after what it does, so none is called util, common or
//! helpers; and a file that has grown past what one reads at once is listed.

use std::path::{Path, PathBuf};

use crate::{
    modules,
    orphans::{list, read},
    workspace::Workspace,
};

const BANNED: [&str; 6] = ["common", "helper", "helpers", "util", "utilities", "utils"];
const LONG: usize = 400;

pub(crate) fn run() -> Result<u8, String> {
    let workspace = Workspace::read()?;
    let (mut banned, mut long, mut checked) = (0, 0, 0);
    for package in &workspace.packages {
        let mut files: Vec<PathBuf> = Vec::new();
        for folder in ["src", "tests", "examples", "benches"] {
            list(&package.folder.join(folder), &mut files)?;
        }
        checked += files.len();
        for file in &files {
            let name = file.strip_prefix(&workspace.root).unwrap_or(file);
            let inside = file.strip_prefix(&package.folder).unwrap_or(file);
            if let Some(word) = banned_word(inside) {
                banned += 1;
                println!("{}: `{word}` does not say what it does", name.display());
            }
            let lines = modules::production_lines(&read(file)?);
            if is_production(inside) && lines > LONG {
                long += 1;
                println!("warning: {}: {lines} lines, more than {LONG}", name.display());
            }
        }
    }
    println!("lint-names: {checked} files checked, {banned} badly named, {long} long");
    Ok(u8::from(banned > 0))
}

/// The first part of the path that says nothing.
fn banned_word(file: &Path) -> Option<String> {
    file.iter()
        .map(|part| part.to_string_lossy().trim_end_matches(".rs").to_owned())
        .find(|part| BANNED.contains(&part.as_str()))
}

fn is_production(file: &Path) -> bool {
    file.starts_with("src") && !file.iter().any(|part| part == "tests.rs" || part == "tests")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_folders_that_say_nothing_are_found() {
        for name in ["src/util.rs", "src/common/mod.rs", "tests/contract/helpers.rs"] {
            assert!(banned_word(Path::new(name)).is_some(), "{name}");
        }
        for name in ["src/utilisation.rs", "src/retry/mod.rs", "src/uncommon.rs"] {
            assert_eq!(banned_word(Path::new(name)), None, "{name}");
        }
    }

    #[test]
    fn test_files_are_not_production() {
        assert!(is_production(Path::new("src/retry/mod.rs")));
        assert!(!is_production(Path::new("src/retry/tests.rs")));
        assert!(!is_production(Path::new("src/retry/tests/table.rs")));
        assert!(!is_production(Path::new("tests/contract/main.rs")));
    }
}
