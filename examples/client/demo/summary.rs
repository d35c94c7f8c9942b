//! What every layer did, as a table and as a line of JSON.

use comfy_table::{Table, presets::UTF8_BORDERS_ONLY};
use nudj::{cache::CacheStats, client::Client};

use super::tally::{Tally, read};

pub(crate) fn print(client: &Client, tally: &Tally, cache: &CacheStats, failed: u64, json: bool) {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_header(["layer", "what it did", "count"]);
    let rows = [
        ("calls", "made by the program", &tally.calls),
        ("retry", "sent again after a wait", &tally.retries),
        ("retry", "sent at once to another endpoint", &tally.failovers),
        ("retry", "not sent again, budget spent", &tally.budget_exhausted),
        ("rate limit", "calls that waited", &tally.limiter_waits),
        ("rate limit", "milliseconds waited in all", &tally.limiter_wait_ms),
        ("rate limit", "calls refused", &tally.limiter_refused),
        ("rate limit", "pauses the server asked for", &tally.limiter_paused),
        ("circuit breaker", "opened", &tally.breaker_opened),
        ("circuit breaker", "closed again", &tally.breaker_closed),
        ("round robin", "attempts", &tally.attempts),
    ];
    for (layer, what, counter) in rows {
        table.add_row([layer.to_owned(), what.to_owned(), read(counter).to_string()]);
    }
    let cached = [
        ("hits", cache.hits),
        ("misses", cache.misses),
        ("loads from the API", cache.loads),
        ("calls that shared another's load", cache.coalesced),
    ];
    for (what, count) in cached {
        table.add_row(["cache".to_owned(), what.to_owned(), count.to_string()]);
    }
    for level in &cache.levels {
        table.add_row([format!("cache, {}", level.name), "hits".to_owned(), level.hits.to_string()]);
    }
    for endpoint in client.handles().endpoints().endpoints() {
        table.add_row(["endpoint".to_owned(), endpoint.name.to_string(), endpoint.calls.to_string()]);
    }
    say!("{table}");
    if json {
        say!(
            "{}",
            serde_json::json!({
                "calls": read(&tally.calls),
                "failed": failed,
                "layers": {
                    "attempts": read(&tally.attempts),
                    "retries": read(&tally.retries),
                    "failovers": read(&tally.failovers),
                    "retry_budget_exhausted": read(&tally.budget_exhausted),
                    "limiter_waits": read(&tally.limiter_waits),
                    "limiter_wait_ms": read(&tally.limiter_wait_ms),
                    "limiter_refused": read(&tally.limiter_refused),
                    "limiter_paused": read(&tally.limiter_paused),
                    "breaker_opened": read(&tally.breaker_opened),
                    "breaker_closed": read(&tally.breaker_closed),
                    "breaker_refused": read(&tally.breaker_refused),
                    "cache_hits": cache.hits,
                    "cache_misses": cache.misses,
                    "cache_loads": cache.loads,
                    "cache_coalesced": cache.coalesced,
                },
            })
        );
    }
}
