# Runs the recipe of "Through a view", and tells what it saw, a line a fact.
require "active_record"

ActiveRecord::Base.establish_connection(ENV.fetch("DATABASE_URL"))
require "./recipe"

one = Employee.create!(id: 1, born: Date.new(1999, 12, 31))
puts "added\t#{one.reload.born}"
one.update!(born: Date.new(1987, 6, 5))
puts "changed\t#{one.reload.born}"
puts "found\t#{Employee.where("born < ?", Date.new(1990, 1, 1)).pluck(:id)}"
