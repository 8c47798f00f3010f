# Runs the recipe, and tells what it saw, a line a fact.
require "active_record"
require "stringio"

AWKWARD, CHANGED, NOTATION, SECRET = ENV.values_at("AWKWARD", "CHANGED", "NOTATION", "SECRET")
ActiveRecord::Base.establish_connection(ENV.fetch("DATABASE_URL"))
require "./recipe"

def tell(name, value)
  puts "#{name}\t#{value}"
end

# How a sealed value came.
def kind(value)
  value.start_with?("\\xf7e1") ? "text" : value.b.start_with?("\xF7\xE1".b) ? "bytes" : "other"
end

# What became of a value on its way in.
def fate(opened, given)
  opened == given ? "kept" : "changed"
end

# What a statement fails with.
def failure
  yield
  nil
rescue ActiveRecord::StatementInvalid => e
  e
end

def ssn(id) = Customer.opened.find(id).opened_ssn
def note(id) = Patient.opened.find(id).opened_note

tell "version", ActiveRecord.version
Customer.create!(id: 1, ssn: AWKWARD)
tell "added", ssn(1)
Customer.find(1).update!(ssn: CHANGED)
tell "changed", ssn(1)
Patient.create!(id: 1, note: AWKWARD)
tell "note added", note(1)
Patient.find(1).update!(note: CHANGED)
tell "note changed", note(1)
Customer.upsert({ id: 1, ssn: AWKWARD })
Customer.upsert({ id: 1, ssn: CHANGED })
tell "upserts", ssn(1) == CHANGED
one = Customer.create!(id: 2, ssn: AWKWARD)
tell "plaintext until reload", one.ssn == AWKWARD && kind(one.reload.ssn) == "text"
# What was read is written back, and stays sealed once.
one.update!(ssn: one.ssn)
one.update_columns(ssn: one.ssn)
tell "written back", ssn(2) == AWKWARD

tell "ssn", kind(Customer.find(1).ssn)
tell "note", kind(Patient.find(1).note)
Customer.create!(id: 3, ssn: AWKWARD.b)
tell "bytes for ssn", fate(ssn(3), AWKWARD)
Patient.create!(id: 2, note: NOTATION)
tell "a string for note", fate(note(2), NOTATION)
tell "ssn =", failure { Customer.where(ssn: CHANGED).to_a }.cause.result.error_field(PG::Result::PG_DIAG_SQLSTATE)
tell "note =", Patient.where(note: CHANGED).count
error = failure { Customer.create!(id: 1, ssn: SECRET) }
tell "value in errors", "#{error.inspect} #{error.cause.inspect}".include?(SECRET) ? "shown" : "not shown"

def schema
  written = StringIO.new
  ActiveRecord::SchemaDumper.dump(ActiveRecord::Base.connection, written)
  written.string
end

tell "schema.rb has the table", schema.include?('create_table "customers"') ? "yes" : "no"
tell "schema.rb has the triggers", schema.include?("envelope_seal") ? "yes" : "no"
tell "CHECK in schema.rb", schema[/check_constraint (.*?)[,\n]/, 1]
ActiveRecord::Base.connection.execute(<<~SQL)
  ALTER TABLE patients DROP CONSTRAINT patients_note_check, ADD CHECK (envelope.is_sealed(note) IS NOT FALSE)
SQL
tell "CHECK with IS NOT FALSE in schema.rb", schema[/check_constraint "(.*?)"/, 1]
