//! A partition of the table for each day (UTC) of ingest.

use std::collections::BTreeSet;

use afferent_protocol::ids::Timestamp;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::error::Failure;
use super::row::DAY_US;
use super::schema::Tables;
use crate::rfc3339::time_text;

/// Key of the lock under which partitions are made: `afferday` in ASCII.
const LOCK: i64 = i64::from_be_bytes(*b"afferday");

/// Makes the partitions of these days, counted from 1970, within the transaction. Where one is there already, or one of
/// somebody else that covers the day, nothing is made.
///
/// A partition is made beside the table and then attached: that waits for no reader, and no reader for it.
pub(super) async fn make(client: &Client, tables: &Tables, days: &BTreeSet<i64>) -> Result<(), Failure> {
    client.batch_execute(&format!("SELECT pg_advisory_xact_lock({LOCK})")).await?;
    for day in days {
        let (partition, statement) = statement(tables, *day);
        let is_there: bool = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&partition]).await?.try_get(0)?;
        if is_there {
            continue;
        }
        client.batch_execute("SAVEPOINT day").await?;
        match client.batch_execute(&statement).await {
            Ok(()) => client.batch_execute("RELEASE SAVEPOINT day").await?,
            // Its days would overlap with those of another partition.
            Err(error) if error.code() == Some(&SqlState::INVALID_OBJECT_DEFINITION) => {
                client.batch_execute("ROLLBACK TO SAVEPOINT day; RELEASE SAVEPOINT day").await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The name of a day's partition, and the statements that make it.
fn statement(tables: &Tables, day: i64) -> (String, String) {
    let date = |day: i64| time_text(Timestamp::clamped(day * DAY_US))[..10].to_owned();
    let (from, events) = (date(day), &tables.events);
    let partition = tables.partition(&from.replace('-', "_"));
    let is_last = Timestamp::new((day + 1) * DAY_US).is_none();
    let until = if is_last { "MAXVALUE".to_owned() } else { format!("'{} 00:00:00+00'", date(day + 1)) };
    let statement = format!(
        "CREATE TABLE {partition} (LIKE {events} INCLUDING ALL); ALTER TABLE {events} ATTACH PARTITION {partition} FOR \
         VALUES FROM ('{from} 00:00:00+00') TO ({until})"
    );
    (partition, statement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_a_partition_from_its_midnight_to_the_next() {
        let tables = Tables::new("afferent", "events").unwrap();
        let (partition, made) = statement(&tables, 20_787);
        assert_eq!(partition, "\"afferent\".\"events_2026_11_30\"");
        assert!(made.ends_with("FROM ('2026-11-30 00:00:00+00') TO ('2026-12-01 00:00:00+00')"), "{made}");
        let last = Timestamp::clamped(i64::MAX).micros() / DAY_US;
        assert!(statement(&tables, last).1.ends_with("FROM ('9999-12-31 00:00:00+00') TO (MAXVALUE)"));
        assert!(statement(&tables, 0).1.contains("FROM ('1970-01-01 00:00:00+00')"));
    }
}
