//! Runs the recipe of tokio-postgres.

use clients::{fate, given, kind, shown, tell, version};
use recipe::{add, add_note, change, change_note, read, read_note};
use std::error;
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{Error, NoTls};

mod recipe {
    include!(env!("RECIPE"));
}

/// A value as it came, whatever its type.
struct Raw(Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn error::Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn sqlstate(error: &Error) -> &str {
    error.code().map_or("none", |code| code.code())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (awkward, changed, notation) = (given("AWKWARD"), given("CHANGED"), given("NOTATION"));
    let (client, connection) = tokio_postgres::connect(&given("DATABASE_URL"), NoTls).await?;
    tokio::spawn(connection);

    tell("version", version("tokio-postgres"));
    add(&client, 1, &awkward).await?;
    tell("added", read(&client, 1).await?);
    change(&client, 1, &changed).await?;
    tell("changed", read(&client, 1).await?);
    add_note(&client, 1, &awkward).await?;
    tell("note added", read_note(&client, 1).await?);
    change_note(&client, 1, &changed).await?;
    tell("note changed", read_note(&client, 1).await?);

    let row =
        client.query_one("SELECT ssn, ssn::bytea, note FROM customers, patients", &[]).await?;
    tell("ssn", kind(&row.get::<_, Raw>(0).0));
    tell("ssn into String", if row.try_get::<_, String>(0).is_ok() { "taken" } else { "refused" });
    tell(
        "ssn into Vec<u8>",
        if row.try_get::<_, Vec<u8>>(0).is_ok() { "taken" } else { "refused" },
    );
    tell("ssn as bytea into Vec<u8>", kind(row.get(1)));
    tell("note", kind(row.get(2)));
    let insert = "INSERT INTO customers VALUES (3, $1)";
    tell(
        "a string for ssn, without ::text",
        fate(client.execute(insert, &[&awkward]).await.ok().map(|_| awkward.clone()), &awkward),
    );
    let bytes = client.execute(insert, &[&awkward.as_bytes()]).await;
    tell(
        "bytes for ssn",
        fate(if bytes.is_ok() { read(&client, 3).await.ok() } else { None }, &awkward),
    );
    let string = client.execute("INSERT INTO patients VALUES (2, $1)", &[&notation]).await;
    tell(
        "a string for note",
        fate(if string.is_ok() { read_note(&client, 2).await.ok() } else { None }, &notation),
    );
    let taken =
        client.query("SELECT envelope_decrypt_text($1, note) FROM patients", &[&"patients"]).await;
    tell("table", if taken.is_ok() { "taken" } else { "refused" });
    let sql = "SELECT envelope_decrypt_text($1::text::regclass, note) FROM patients";
    tell(
        "table by ::text::regclass",
        client.query_one(sql, &[&"patients"]).await?.get::<_, String>(0) == changed,
    );
    let equal = client.query("SELECT FROM customers WHERE ssn = $1::text", &[&changed]).await;
    tell("ssn =", equal.as_ref().map_or_else(sqlstate, |_| "no error"));
    tell(
        "note =",
        client.query("SELECT FROM patients WHERE note = $1", &[&changed.as_bytes()]).await?.len(),
    );
    if let Err(error) = add(&client, 1, &given("SECRET")).await {
        tell("value in errors", shown(&error));
    }
    Ok(())
}
