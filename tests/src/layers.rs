//! A layer that is there in one place is there in all: the list in STYLE's "To add a layer".

use std::path::Path;

use crate::file;

/// Features of nudj-tower that are no layer.
const NO_LAYER: [&str; 4] = ["default", "full", "backoff", "hyper-util"];

fn features(manifest: &str) -> toml::Table {
    let manifest: toml::Table = file(manifest).parse().unwrap();
    manifest["features"].as_table().unwrap().clone()
}

fn layers() -> Vec<String> {
    let features = features("crates/nudj-tower/Cargo.toml");
    features.keys().filter(|name| !NO_LAYER.contains(&name.as_str())).cloned().collect()
}

/// All Rust files below `folder`, joined.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &sources(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text += &std::fs::read_to_string(&path).unwrap();
        }
    }
    text
}

#[test]
fn a_layer_stands_in_every_list() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let crate_root = file("crates/nudj-tower/src/lib.rs");
    let (full, facade) = (features("crates/nudj-tower/Cargo.toml"), features("Cargo.toml"));
    let matrix = sources(&root.join("crates/nudj-tower/tests/contract/matrix"));
    let benches = sources(&root.join("benches"));
    let examples = sources(&root.join("examples"));
    let (readme, changelog) = (file("README.md"), file("CHANGELOG.md"));

    let layers = layers();
    assert!(layers.len() >= 11, "{layers:?}");
    let mut missing = Vec::new();
    for layer in &layers {
        let module = layer.replace('-', "_");
        let mut check = |found: bool, what: &str| {
            if !found {
                missing.push(format!("{layer}: {what}"));
            }
        };
        let has = |list: &toml::Table, name: &str, entry: &str| {
            list.get(name)
                .and_then(|entries| entries.as_array())
                .is_some_and(|entries| entries.iter().any(|known| known.as_str() == Some(entry)))
        };
        check(has(&full, "full", layer), "not in `full` of nudj-tower");
        check(has(&facade, layer, &format!("nudj-tower/{layer}")), "no feature of the facade");
        let declared = format!("#[cfg(feature = \"{layer}\")]\npub mod {module};");
        check(crate_root.contains(&declared), "not declared in lib.rs as a feature of that name");
        check(crate_root.contains(&format!("//! | [`{module}`] |")), "no row in lib.rs");
        check(matrix.contains(&format!("feature = \"{layer}\"")), "no row in the contract matrix");
        check(benches.contains(&format!("{module}::")), "no row in the benches");
        check(examples.contains(&format!("{module}::")), "in no example");
        check(readme.contains(&format!("` | `{module}` |")), "no row in README.md");
        check(changelog.contains(&format!("- `{layer}`: ")), "no line in CHANGELOG.md");
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn a_feature_of_the_facade_is_one_of_the_layers_crate() {
    let full = features("crates/nudj-tower/Cargo.toml");
    for (name, entries) in features("Cargo.toml") {
        for entry in entries.as_array().unwrap() {
            if let Some(feature) = entry.as_str().and_then(|entry| entry.strip_prefix("nudj-tower/")) {
                assert_eq!(feature, name);
                assert!(full.contains_key(feature), "{feature}");
            }
        }
    }
}
