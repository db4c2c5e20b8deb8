package EventSource::XS::Outbox::Database::PostgreSQL;
use strict;
use warnings;

# An outbox in PostgreSQL, by DBD::Pg. A trigger of the table notifies followers at each commit.

use parent 'EventSource::XS::Outbox::Database';

# Public methods

# An index helps where it is the same for all rows.
sub ago { return "now() - $_[1]::double precision * interval '1 second'" }

sub attributes { return (pg_placeholder_dollaronly => 0) }

# A follower that is ended while it waits for a lock leaves a process of the server, which waits for that.
sub bound_statements {
    my ($self, $seconds) = @_;
    $self->{dbh}->do('SET statement_timeout = ' . int 1000 * $seconds);
    return;
}

# The socket, readable when a notification has come.
sub descriptor { return $_[0]{dbh}{pg_socket} }

sub has_trigger {
    my $self = shift;
    my ($count) = $self->{dbh}->selectrow_array(
        q{SELECT count(*) FROM pg_trigger WHERE tgrelid = ?::regclass AND tgname = 'notify' AND tgenabled IN ('A', 'O')},
        undef, $self->{table}
    );
    return $count > 0;
}

# The driver keeps each notification until it is taken, so only a follower that reads rows listens.
sub acquire_lease {
    my ($self, @lease) = @_;
    my $is_held = $self->SUPER::acquire_lease(@lease) ? 1 : 0;
    return $is_held if $is_held == ($self->{is_listening} || 0);
    $self->{dbh}->do($is_held ? qq{LISTEN "$self->{table}"} : 'UNLISTEN *');
    $self->is_notified;
    $self->{is_listening} = $is_held;
    return $is_held;
}

# The answer to a statement may bring a notification of a commit that the statement did not see. Then the socket is not
# readable again.
sub is_notified {
    my $self  = shift;
    my $count = 0;
    $count++ while $self->{dbh}->pg_notifies;
    return $count > 0;
}

sub may_have_changed {
    my $self = shift;
    $self->is_notified;
    return !!1;
}

sub literal_of { return $_[0]{dbh}->quote($_[1]) }

sub needs_hint { return !!0 }

sub now { return 'extract(epoch FROM clock_timestamp())::double precision' }

sub pause { return 1 }

sub prepare_handle {
    my $self = shift;
    my $dbh  = $self->{dbh};
    $dbh->do(q{SET client_encoding TO 'UTF8'});
    $dbh->do('SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED');
    $dbh->{$_} = 0 for qw(pg_bool_tf pg_enable_utf8);
    die "this is a standby server: the DSN must lead to the primary server\n"
        if $dbh->selectrow_array('SELECT pg_is_in_recovery()');
    $self->{is_listening} = 0;
    return;
}

sub seconds_of { return "extract(epoch FROM $_[1])::double precision" }

sub size_of { return "octet_length($_[1]::text)" }

sub text_of_hex {
    my ($class, $hex, $column) = @_;
    return "convert_from(decode('$hex', 'hex'), 'UTF8')" . ($column eq 'json' ? '::json' : '');
}

sub timestamp { return 'clock_timestamp()' }

1;
