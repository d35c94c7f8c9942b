//! The page: one HTML text without anything from elsewhere, and the policy that keeps it so.

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

const HTML: &str = include_str!("assets/index.html");
const STYLE: &str = include_str!("assets/style.css");
const SCRIPT: &str = include_str!("assets/app.js");

/// The document and its Content-Security-Policy.
pub(super) struct Page {
    pub(super) html: String,
    pub(super) policy: String,
}

pub(super) static PAGE: LazyLock<Page> = LazyLock::new(|| {
    let html = HTML.replacen("/*style*/", STYLE, 1).replacen("/*script*/", SCRIPT, 1);
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
        hash(SCRIPT),
        hash(STYLE),
    );
    Page { html, policy }
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_takes_nothing_from_elsewhere_and_writes_no_markup() {
        let html = &PAGE.html;
        for banned in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
            assert!(!html.contains(banned), "{banned}");
        }
        for banned in ["<link rel=\"stylesheet", "src=\"", "@import", "url(", "https://", " style=\"", " onclick"] {
            assert!(!html.contains(banned), "{banned}");
        }
        assert!(!html.contains("/*style*/") && !html.contains("/*script*/"));
        assert_eq!(html.matches("<script>").count(), 1);
        assert_eq!(html.matches("</script>").count(), 1);
    }
}
