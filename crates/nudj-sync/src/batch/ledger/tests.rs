use super::*;
use crate::batch::Outcome;

/// Reads what there is room for, and settles the oldest, until `count` are settled; how often the file was written.
async fn run(ledger: &mut Ledger<u64>, count: u64) -> u64 {
    let (mut written, mut settled, mut units) = (0, 0, std::collections::VecDeque::new());
    while settled < count {
        if ledger.is_due() {
            ledger.begin_save();
            ledger.saved().await.unwrap();
            written += 1;
        }
        while ledger.has_room() && ledger.next < count {
            units.extend(ledger.read(Row::new(ledger.next, ledger.next), &mut |_| Ok(())).unwrap());
        }
        let Some(mut unit) = units.pop_front() else { continue };
        unit.outcome = Some(Outcome::Created { id: String::new() });
        ledger.take(unit, &mut |_| Ok(())).unwrap();
        settled += 1;
    }
    written
}

#[tokio::test]
async fn the_file_is_written_once_per_chunk_also_while_the_window_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let config = BatchConfig { chunk_size: 10, chunks_in_flight: 3, ..BatchConfig::default() };
    let file = CheckpointFile::open(folder.path().join("checkpoint"), "input").unwrap();
    let mut ledger = Ledger::restore(None, Some(file), &config).unwrap();
    let written = run(&mut ledger, 1000).await;
    assert!((90..=110).contains(&written), "{written} writes for 100 chunks");
}

#[tokio::test]
async fn one_slow_record_holds_up_no_other_until_so_many_were_settled_after_it() {
    let config = BatchConfig { chunk_size: 1000, chunks_in_flight: 1, ..BatchConfig::default() };
    let mut ledger: Ledger<u64> = Ledger::restore(None, None, &config).unwrap();
    ledger.begin_save();
    let slow = ledger.read(Row::new(0, 0), &mut |_| Ok(())).unwrap().unwrap();
    while !ledger.is_full() {
        if ledger.is_due() {
            ledger.begin_save();
        }
        let mut unit = ledger.read(Row::new(0, 0), &mut |_| Ok(())).unwrap().unwrap();
        unit.outcome = Some(Outcome::Created { id: String::new() });
        ledger.take(unit, &mut |_| Ok(())).unwrap();
    }
    assert_eq!(ledger.next, FURTHEST);
    drop(slow);
}
