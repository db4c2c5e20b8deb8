package Testing::Database;
use strict;
use warnings;

# Real databases of a test, each in a folder of its own, with a user for whom everything is allowed. They end with the object,
# and leave nothing behind.
#
#   for my $class (Testing::Database->classes) {
#       subtest $class->name => sub {
#           $class->require_or_skip_all;
#           my $database = $class->start;
#           my $dbh      = $database->connect(AutoCommit => 0);
#       };
#   }
#
# Each has the methods of this class, and `start`, `dsn` and `driver`, which is the DSN's. Those with a server
# (Testing::Database::Server) have users and can be killed, too.

use Testing::Developer qw(has_module needs);

# All classes, whether they can be started here or not.
sub classes {
    my $class   = shift;
    my @classes = map { "Testing::Database::$_" } qw(PostgreSQL MariaDB SQLite);
    for (@classes) { eval "require $_; 1" or die $@ }    ## no critic (StringyEval)
    return @classes;
}

# Returns a handle that dies of errors, takes and returns characters, and survives forks. Attributes are those of DBI.
sub connect {
    my ($self, %attribute) = @_;
    require DBI;
    return DBI->connect($self->connect_info(%attribute));
}

# Returns what DBI and DBIx::Class connect with: the DSN, the user, the password and the attributes.
sub connect_info {
    my ($self, %attribute) = @_;
    my %default = (AutoCommit => 1, AutoInactiveDestroy => 1, PrintError => 0, RaiseError => 1, $self->unicode);
    return ($self->dsn, $self->user, $self->password, {%default, %attribute});
}

# The reason why it cannot be started here; undef if it can.
sub missing {
    my $class    = shift;
    my ($module) = grep { !has_module($_) } 'DBI', 'DBD::' . $class->driver;
    return defined $module ? "there is no $module here" : undef;
}

sub name { return (ref $_[0] || $_[0]) =~ s/.*:://r }

sub password { return undef }

# Ends the test file, or the subtest, green, if it cannot be started here; with EVENTSOURCE_XS_FULL, it has to be there.
sub require_or_skip_all { return needs($_[0]->missing) }

# The attributes with which the driver takes and returns characters.
sub unicode { return () }

sub user { return undef }

1;
