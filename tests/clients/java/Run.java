import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;

/** Runs the recipe, and tells what it saw, a line a fact. */
class Run {
    static final String AWKWARD = System.getenv("AWKWARD"), CHANGED = System.getenv("CHANGED");
    static final String NOTATION = System.getenv("NOTATION"), SECRET = System.getenv("SECRET");
    static Connection c;

    static void tell(String name, Object value) {
        System.out.println(name + "\t" + value);
    }

    static PreparedStatement prepared(String sql, Object... values) throws SQLException {
        PreparedStatement s = c.prepareStatement(sql);
        for (int i = 0; i < values.length; i++) s.setObject(i + 1, values[i]);
        return s;
    }

    static Object value(String sql, Object... values) throws SQLException {
        try (PreparedStatement s = prepared(sql, values); ResultSet rows = s.executeQuery()) {
            rows.next();
            return rows.getObject(1);
        }
    }

    /** What a statement fails with. */
    static SQLException failure(String sql, Object... values) {
        try (PreparedStatement s = prepared(sql, values)) {
            s.execute();
            return null;
        } catch (SQLException e) {
            return e;
        }
    }

    /** How a sealed value came. */
    static String kind(Object value) {
        if (value instanceof byte[] b) return b[0] == (byte) 0xf7 && b[1] == (byte) 0xe1 ? "bytes" : "other bytes";
        return value.toString().startsWith("\\xf7e1") ? "text" : "other text";
    }

    /** What became of a value on its way in. */
    static String fate(SQLException refused, String opened, String given) {
        return refused != null ? "refused" : given.equals(opened) ? "kept" : "changed";
    }

    static Object bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String shown(SQLException e) {
        return e.toString().contains(SECRET) ? "shown" : "not shown";
    }

    public static void main(String[] options) throws Exception {
        String url = System.getenv("DATABASE_URL").replaceFirst("postgres://(\\w+)@(.*)", "jdbc:postgresql://$2?user=$1");
        c = DriverManager.getConnection(url + String.join("", options));
        tell("version", c.getMetaData().getDriverVersion());
        Recipe.add(c, 1, AWKWARD);
        tell("added", Recipe.read(c, 1));
        Recipe.change(c, 1, CHANGED);
        tell("changed", Recipe.read(c, 1));
        Recipe.addNote(c, 1, AWKWARD);
        tell("note added", Recipe.readNote(c, 1));
        Recipe.changeNote(c, 1, CHANGED);
        tell("note changed", Recipe.readNote(c, 1));

        // From the fifth time on the driver asks for binary results, of the types that it knows.
        for (int i = 0; i < 7; i++) value("SELECT ssn FROM customers");
        tell("ssn", kind(value("SELECT ssn FROM customers")));
        tell("note", kind(value("SELECT note FROM patients")));
        String both = "SELECT ssn, ssn::bytea FROM customers";
        try (PreparedStatement s = prepared(both); ResultSet rows = s.executeQuery()) {
            rows.next();
            tell("ssn by getBytes", kind(rows.getBytes(1)));
            tell("ssn as bytea by getBytes", kind(rows.getBytes(2)));
        }
        SQLException refused = failure("INSERT INTO customers VALUES (3, ?)", bytes(AWKWARD));
        tell("bytes for ssn", fate(refused, Recipe.read(c, 3), AWKWARD));
        refused = failure("INSERT INTO patients VALUES (2, ?)", NOTATION);
        tell("a string for note", fate(refused, Recipe.readNote(c, 2), NOTATION));
        refused = failure("SELECT envelope_decrypt_text(?, note) FROM patients", "patients");
        tell("table", refused == null ? "taken" : "refused");
        tell("ssn =", failure("SELECT FROM customers WHERE ssn = ?", CHANGED).getSQLState());
        tell("note =", value("SELECT count(*) FROM patients WHERE note = ?", bytes(CHANGED)));
        tell("value in errors", shown(failure("INSERT INTO customers VALUES (1, ?)", SECRET)));
        try (PreparedStatement s = prepared("INSERT INTO customers VALUES (1, ?)", SECRET)) {
            s.addBatch();
            s.executeBatch();
        } catch (SQLException e) {
            tell("value in errors of a batch", shown(e));
            tell("value in the cause of a batch's error", shown(e.getNextException()));
        }
    }
}
