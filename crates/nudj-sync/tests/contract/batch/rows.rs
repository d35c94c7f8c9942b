//! Rows that cannot be read.

use futures_util::stream;
use nudj_sync::batch::{Batch, BatchConfig, Outcome};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_bad_row_is_told_by_line_and_field_and_holds_up_nothing() {
    let server = Server::new(|_, _| Reply::Created);
    let live = Live::default();
    let input = vec![
        Ok(Row::new(2, live.record(0))),
        Ok(Row::invalid(3, "email", "has no @")),
        Ok(Row::new(4, live.record(1))),
    ];
    let mut bad = Vec::new();
    let batch = Batch::new(ToServer(Arc::clone(&server)), BatchConfig::default()).unwrap();
    let summary = batch.run(stream::iter(input), |report| {
        if let Outcome::Invalid { field, problem } = report.outcome {
            bad.push((report.line, field.clone(), problem.clone()));
        }
        Ok(())
    });
    let totals = summary.await.unwrap().totals;
    assert_eq!((totals.created, totals.invalid), (2, 1));
    assert_eq!(bad, [(3, "email".to_owned(), "has no @".to_owned())]);
    server.assert_each_once(2);
}
