//! Whole-stack tests, and those over the whole tree. What each is for stands in the README beside this folder.

#[cfg(test)]
mod cancellation;
#[cfg(test)]
mod cardinality;
#[cfg(test)]
mod client_ends;
#[cfg(test)]
mod config_table;
#[cfg(test)]
mod duplicates;
#[cfg(test)]
mod example_client;
#[cfg(test)]
mod import;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod webhooks_listen;

/// The file at `path` of the repository.
#[cfg(test)]
fn file(path: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
