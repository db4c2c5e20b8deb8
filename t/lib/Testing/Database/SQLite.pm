package Testing::Database::SQLite;
use Testing;

# A database of SQLite, in a file: see Testing::Database.
#
#   my $database = Testing::Database::SQLite->start(journal => 'DELETE');
#
# The journal is WAL by default. The handles of `connect` write to the kernel, which outlives processes, and do not wait for the
# disk.

use parent 'Testing::Database';
use File::Temp ();

sub connect {
    my ($self, %attribute) = @_;
    my $dbh = $self->SUPER::connect(%attribute);
    {
        local $dbh->{AutoCommit} = 1;
        $dbh->do('PRAGMA synchronous = OFF');
    }
    return $dbh;
}

sub driver { return 'SQLite' }

sub dsn { return 'dbi:SQLite:dbname=' . $_[0]->path }

sub path { return $_[0]{folder}->dirname . '/database' }

sub start {
    my ($class, %option) = @_;
    my $self = bless {folder => File::Temp->newdir(TEMPLATE => 'database-XXXXXX', TMPDIR => 1)}, $class;
    $self->connect->do('PRAGMA journal_mode = ' . ($option{journal} || 'WAL'));
    return $self;
}

sub unicode { return (sqlite_unicode => 1) }

1;
