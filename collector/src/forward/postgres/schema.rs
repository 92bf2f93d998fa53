//! The tables: made where they are missing, and checked before any row.

use tokio_postgres::Client;

use super::error::Failure;
use crate::limits::POSTGRES_NAME_BYTES_MAX;

/// The version of the tables that this collector makes and writes.
const VERSION: i32 = 1;
/// The key of the lock under which tables are made: `afferent` in ASCII.
const LOCK: i64 = i64::from_be_bytes(*b"afferent");

/// A column of the events: its name, its type, and whether it always has a value.
pub(super) struct Column(pub &'static str, pub &'static str, pub bool);

/// The columns, in the order in which rows have them.
pub(super) const COLUMNS: [Column; 23] = [
    Column("log", "uuid", true),
    Column("partition", "integer", true),
    Column("offset", "bigint", true),
    Column("source", "text", true),
    Column("id", "text", true),
    Column("type", "text", true),
    Column("subject", "text", false),
    Column("machine", "text", true),
    Column("time", "timestamp with time zone", false),
    Column("correctedtime", "timestamp with time zone", false),
    Column("recordedtime", "timestamp with time zone", false),
    Column("ingesttime", "timestamp with time zone", true),
    Column("stream", "text", false),
    Column("epoch", "text", false),
    Column("sequence", "bigint", false),
    Column("severitynumber", "smallint", true),
    Column("value", "double precision", false),
    Column("wholevalue", "bigint", false),
    Column("unit", "text", false),
    Column("quality", "text", false),
    Column("data", "json", false),
    Column("datacontenttype", "text", true),
    Column("extensions", "json", false),
];

/// The key: the event's address, and the column of the partitions, which every key must have.
const KEY: &str = r#"PRIMARY KEY (log, partition, "offset", ingesttime)"#;

/// The names of the tables, quoted for SQL.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    schema: String,
    table: String,
    /// The events.
    pub events: String,
    /// The checkpoints of all forwards into the schema.
    pub forwards: String,
    /// The versions of the tables.
    versions: String,
}

/// How the table of events is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub oid: u32,
    /// Its columns as a text, to notice a change.
    pub columns: String,
    /// Whether it is partitioned; a plain table needs no partitions.
    pub is_partitioned: bool,
    /// Whether it has a unique key, with which rows can be recognised.
    pub has_key: bool,
}

impl Tables {
    pub fn new(schema: &str, table: &str) -> Result<Self, String> {
        for (key, name) in [("schema", schema), ("table", table)] {
            let is_printable = !name.chars().any(char::is_control);
            if !(1..=POSTGRES_NAME_BYTES_MAX).contains(&name.len()) || !is_printable {
                return Err(format!(
                    "{key} {name:?} must have 1 to {POSTGRES_NAME_BYTES_MAX} bytes, none of them control \
                                    characters"
                ));
            }
        }
        let of_schema = |table: &str| format!("{}.{}", quoted(schema), quoted(table));
        Ok(Self {
            events: of_schema(table),
            forwards: of_schema("afferent_forwards"),
            versions: of_schema("afferent_schema"),
            schema: schema.to_owned(),
            table: table.to_owned(),
        })
    }

    /// The table of events for people.
    pub fn shown(&self) -> String {
        format!("{}.{}", self.schema, self.table)
    }

    /// A partition of the events, quoted.
    pub fn partition(&self, suffix: &str) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&format!("{}_{suffix}", self.table)))
    }

    /// The columns for `COPY` and `INSERT`, quoted.
    pub fn columns() -> String {
        COLUMNS.map(|Column(name, _, _)| quoted(name)).join(", ")
    }

    /// Makes what is missing, and checks what is there.
    pub async fn prepare(&self, client: &Client) -> Result<Layout, Failure> {
        check_encoding(client).await?;
        if !self.are_there(client).await? {
            self.make(client).await?;
        }
        self.check_version(client).await?;
        self.layout(client).await
    }

    /// Checks what is there, and makes nothing; returns what it has found, for people.
    pub async fn look(&self, client: &Client) -> Result<String, Failure> {
        check_encoding(client).await?;
        if !self.are_there(client).await? {
            return Ok("takes the login; the tables are made at the first start".to_owned());
        }
        self.check_version(client).await?;
        self.layout(client).await?;
        Ok("takes the login, and its tables are as they have to be".to_owned())
    }

    async fn check_version(&self, client: &Client) -> Result<(), Failure> {
        let select = format!("SELECT version FROM {} WHERE table_name = $1", self.versions);
        let found = client.query_opt(&select, &[&self.table]).await?;
        let version: i32 = found.map_or(Ok(VERSION), |row| row.try_get(0))?;
        if version <= VERSION {
            return Ok(());
        }
        let shown = self.shown();
        let reason = format!("{shown} has version {version} of a newer collector; this one knows version {VERSION}");
        Err(Failure::wrong(reason, "update this collector, or set `table` to a new name"))
    }

    async fn are_there(&self, client: &Client) -> Result<bool, Failure> {
        const ARE_THERE: &str =
            "SELECT count(*) = 3 FROM unnest($1::text[]) AS name WHERE to_regclass(name) IS NOT NULL";
        let names = vec![&self.events, &self.forwards, &self.versions];
        Ok(client.query_one(ARE_THERE, &[&names]).await?.try_get(0)?)
    }

    /// Makes schema and tables; two collectors do it one after the other.
    async fn make(&self, client: &Client) -> Result<(), Failure> {
        client.batch_execute(&format!("BEGIN; SELECT pg_advisory_xact_lock({LOCK})")).await?;
        let schema = quoted(&self.schema);
        let is_there: bool =
            client.query_one("SELECT to_regnamespace($1) IS NOT NULL", &[&schema]).await?.try_get(0)?;
        if !is_there {
            client.batch_execute(&format!("CREATE SCHEMA {schema}")).await?;
        }
        for (name, statement) in [
            (
                &self.versions,
                format!("CREATE TABLE {} (table_name text PRIMARY KEY, version integer NOT NULL)", self.versions),
            ),
            (&self.forwards, self.forwards_statement()),
            (&self.events, self.events_statement()),
        ] {
            let is_there: bool = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[name]).await?.try_get(0)?;
            if !is_there {
                client.batch_execute(&statement).await?;
            }
        }
        let insert = format!("INSERT INTO {} VALUES ($1, $2) ON CONFLICT DO NOTHING", self.versions);
        client.execute(&insert, &[&self.table, &VERSION]).await?;
        client.batch_execute("COMMIT").await?;
        Ok(())
    }

    fn forwards_statement(&self) -> String {
        format!(
            "CREATE TABLE {} (forward text NOT NULL, partition integer NOT NULL, log uuid NOT NULL, \
             checkpoint text NOT NULL, updated_at timestamptz NOT NULL, PRIMARY KEY (forward, partition, log))",
            self.forwards
        )
    }

    fn events_statement(&self) -> String {
        let columns = COLUMNS.map(|Column(name, of_type, is_always)| {
            format!("{} {of_type}{}", quoted(name), if is_always { " NOT NULL" } else { "" })
        });
        format!("CREATE TABLE {} ({}, {KEY}) PARTITION BY RANGE (ingesttime)", self.events, columns.join(", "))
    }

    /// How the table is; all that rows need of it.
    async fn layout(&self, client: &Client) -> Result<Layout, Failure> {
        const TABLE: &str = "SELECT oid, relkind::text, EXISTS (SELECT FROM pg_index WHERE indrelid = pg_class.oid AND \
                             indisunique AND indisvalid), has_table_privilege(oid, 'INSERT') FROM pg_class WHERE oid = \
                             to_regclass($1)";
        let removed = || {
            Failure::wrong(format!("the table {} was removed", self.shown()), "none is needed: the next try makes it")
        };
        let row = client.query_opt(TABLE, &[&self.events]).await?.ok_or_else(removed)?;
        let (oid, kind): (u32, String) = (row.try_get(0)?, row.try_get(1)?);
        if !["r", "p"].contains(&kind.as_str()) {
            let reason = format!("{} is not a table", self.shown());
            return Err(Failure::wrong(reason, "set `table` to another name"));
        }
        if !row.try_get::<_, bool>(3)? {
            let reason = format!("the role may not write to the table {}", self.shown());
            return Err(Failure::wrong(reason, "GRANT INSERT, SELECT ON the table TO the role, or make it the owner"));
        }
        self.check_columns(client, oid).await?;
        let columns = client.query_one(&format!("SELECT {}", columns_of(oid)), &[]).await?;
        let columns: Option<String> = columns.try_get(0)?;
        let (columns, has_key) = (columns.ok_or_else(removed)?, row.try_get(2)?);
        Ok(Layout { oid, columns, is_partitioned: kind == "p", has_key })
    }

    async fn check_columns(&self, client: &Client, oid: u32) -> Result<(), Failure> {
        const COLUMNS_OF: &str = "SELECT attname::text, format_type(atttypid, atttypmod), \
                                  attnotnull AND NOT atthasdef AND attidentity = '' FROM pg_attribute \
                                  WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped";
        let mut found: Vec<(String, String, bool)> = Vec::new();
        for row in client.query(COLUMNS_OF, &[&oid]).await? {
            found.push((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
        }
        match first_mistake(&self.events, &found) {
            None => Ok(()),
            Some((mistake, remedy)) => {
                let reason = format!("the table {} was changed: {mistake}", self.shown());
                Err(Failure::wrong(reason, format!("{remedy}; or set `table` to a new name")))
            }
        }
    }
}

async fn check_encoding(client: &Client) -> Result<(), Failure> {
    let encoding: String = client.query_one("SELECT current_setting('server_encoding')", &[]).await?.try_get(0)?;
    if encoding == "UTF8" {
        return Ok(());
    }
    let reason = format!("the database has the encoding {encoding}, which does not hold all texts");
    Err(Failure::wrong(reason, "create it with ENCODING 'UTF8' TEMPLATE template0"))
}

/// An expression for the columns of a table as a text, which is another one after each change.
pub(super) fn columns_of(oid: u32) -> String {
    format!(
        "(SELECT string_agg(format('%s %s %s %s', attname, atttypid, atttypmod, attnotnull), ',' ORDER BY attnum) FROM \
         pg_attribute WHERE attrelid = {oid} AND attnum > 0)"
    )
}

/// The first difference between the columns of a table, with their types and whether rows must name them, and the
/// columns of rows; and what mends it.
fn first_mistake(table: &str, found: &[(String, String, bool)]) -> Option<(String, String)> {
    for Column(name, of_type, _) in &COLUMNS {
        let quoted = quoted(name);
        match found.iter().find(|(found, _, _)| found == name) {
            None => {
                let remedy = format!("ALTER TABLE {table} ADD COLUMN {quoted} {of_type}");
                return Some((format!("the column {name} is missing"), remedy));
            }
            Some((_, other, _)) if other != of_type => {
                let remedy =
                    format!("ALTER TABLE {table} ALTER COLUMN {quoted} TYPE {of_type} USING {quoted}::{of_type}");
                return Some((format!("the column {name} has the type {other} instead of {of_type}"), remedy));
            }
            Some(_) => {}
        }
    }
    let is_own = |name: &str| COLUMNS.iter().any(|Column(own, _, _)| *own == name);
    let (name, _, _) = found.iter().find(|(name, _, must)| *must && !is_own(name))?;
    let remedy = format!("ALTER TABLE {table} ALTER COLUMN {} DROP NOT NULL", quoted(name));
    Some((format!("the column {name} must have a value, and events have none for it"), remedy))
}

/// A name as SQL reads it unchanged.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<(String, String, bool)> {
        COLUMNS.map(|Column(name, of_type, must)| (name.to_owned(), of_type.to_owned(), must)).to_vec()
    }

    #[test]
    fn a_changed_table_is_reported_with_its_column_and_what_mends_it() {
        assert_eq!(first_mistake("t", &columns()), None);
        let mut more = columns();
        more.push(("shift".into(), "text".into(), false));
        assert_eq!(first_mistake("t", &more), None, "a column of somebody else that may be empty");
        more.push(("plant".into(), "text".into(), true));
        let (mistake, remedy) = first_mistake("t", &more).unwrap();
        assert!(mistake.contains("plant") && remedy.contains("\"plant\" DROP NOT NULL"), "{mistake} {remedy}");
        let mut fewer = columns();
        fewer.retain(|(name, _, _)| name != "offset");
        let (mistake, remedy) = first_mistake("t", &fewer).unwrap();
        assert!(mistake.contains("offset is missing") && remedy.contains("ADD COLUMN \"offset\" bigint"), "{remedy}");
        let mut other = columns();
        other[16].1 = "real".into();
        let (mistake, remedy) = first_mistake("t", &other).unwrap();
        assert!(mistake.contains("value has the type real") && remedy.contains("TYPE double precision"), "{remedy}");
    }

    #[test]
    fn names_are_quoted_whatever_they_are() {
        let tables = Tables::new("a\"; DROP", "Events").unwrap();
        assert_eq!(tables.events, "\"a\"\"; DROP\".\"Events\"");
        assert_eq!(tables.partition("2026_11_30"), "\"a\"\"; DROP\".\"Events_2026_11_30\"");
        for name in ["", "a\0b", "a\nb", &"x".repeat(POSTGRES_NAME_BYTES_MAX + 1)] {
            assert!(Tables::new("afferent", name).is_err(), "{name:?}");
        }
    }
}
