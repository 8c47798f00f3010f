//! Runs the recipe of sqlx.

use clients::{fate, given, kind, shown, tell, version};
use recipe::{add, add_note, change, change_note, read, read_note};
use sqlx::{Error, PgPool, Row, ValueRef, query};

mod recipe {
    include!(env!("RECIPE"));
}

fn sqlstate(error: &Error) -> String {
    error.as_database_error().and_then(|e| e.code()).unwrap_or_default().into()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (awkward, changed, notation) = (given("AWKWARD"), given("CHANGED"), given("NOTATION"));
    let pool = PgPool::connect(&given("DATABASE_URL")).await?;

    tell("version", version("sqlx"));
    add(&pool, 1, &awkward).await?;
    tell("added", read(&pool, 1).await?);
    change(&pool, 1, &changed).await?;
    tell("changed", read(&pool, 1).await?);
    add_note(&pool, 1, &awkward).await?;
    tell("note added", read_note(&pool, 1).await?);
    change_note(&pool, 1, &changed).await?;
    tell("note changed", read_note(&pool, 1).await?);

    let row = query("SELECT ssn, ssn::bytea, note FROM customers, patients WHERE $1")
        .bind(true)
        .fetch_one(&pool)
        .await?;
    tell("ssn", kind(row.try_get_raw(0)?.as_bytes().unwrap_or_default()));
    tell("ssn into String", if row.try_get::<String, _>(0).is_ok() { "taken" } else { "refused" });
    tell(
        "ssn into Vec<u8>",
        if row.try_get::<Vec<u8>, _>(0).is_ok() { "taken" } else { "refused" },
    );
    tell("ssn as bytea into Vec<u8>", kind(row.get(1)));
    tell("note", kind(row.get(2)));
    let bytes =
        query("INSERT INTO customers VALUES (3, $1)").bind(awkward.as_bytes()).execute(&pool).await;
    tell(
        "bytes for ssn",
        fate(if bytes.is_ok() { read(&pool, 3).await.ok() } else { None }, &awkward),
    );
    let string = query("INSERT INTO patients VALUES (2, $1)").bind(&notation).execute(&pool).await;
    tell(
        "a string for note",
        fate(if string.is_ok() { read_note(&pool, 2).await.ok() } else { None }, &notation),
    );
    let sql = "SELECT envelope_decrypt_text($1, note) FROM patients";
    let taken = query(sql).bind("patients").fetch_all(&pool).await;
    tell("table", if taken.is_ok() { "taken" } else { "refused" });
    let equal = query("SELECT FROM customers WHERE ssn = $1").bind(&changed).fetch_all(&pool).await;
    tell("ssn =", equal.as_ref().map_or_else(sqlstate, |_| "no error".into()));
    tell(
        "note =",
        query("SELECT FROM patients WHERE note = $1")
            .bind(changed.as_bytes())
            .fetch_all(&pool)
            .await?
            .len(),
    );
    if let Err(error) = add(&pool, 1, &given("SECRET")).await {
        tell("value in errors", shown(&error));
    }
    Ok(())
}
