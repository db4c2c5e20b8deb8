package EventSource::Outbox;
use strict;
use warnings;

# Events that exist exactly if a transaction does: a producer writes them into a table of its database, in its own transaction,
# and a follower publishes what was committed. The rules of the follower, and their reasons, are in
# EventSource::XS::Outbox::Follower.

our $VERSION = '0.100';

use EventSource::Error;
use EventSource::Hub ();
use EventSource::Hub::Process;
use EventSource::XS::ErrorLog;
use EventSource::XS::Hub::Calls;
use EventSource::XS::Loop;
use EventSource::XS::Outbox::Database;
use EventSource::XS::Outbox::Follower;
use EventSource::XS::Outbox::Row;
use EventSource::XS::Outbox::FollowerLoop;
use EventSource::XS::Reason;
use EventSource::XS::Settings;
use Scalar::Util qw(blessed weaken);

my $SETTINGS = EventSource::XS::Settings->new(__PACKAGE__);
my $DATABASE = 'EventSource::XS::Outbox::Database';
my $FOLLOWER = 'EventSource::XS::Outbox::Follower';

# Seconds. A shorter lease may be over before the database has answered. A longer one is no number of milliseconds for
# PostgreSQL.
my $LEASE       = 10;
my $SHORT_LEASE = 1;
my $LONG_LEASE  = 86_400;

# As the table says. A message to a hub process may be a little longer, as MariaDB's packets may by default.
my $MAX_BYTES = 16_000_000;

# The counts for a monitor: the name without its prefix, the count, the unit, the text.
my @GAUGES = (
    [waiting            => 'waiting',      '',        'Committed rows that wait to be published.'],
    [oldest_age_seconds => 'oldest_age',   'seconds', 'For how long the oldest of these rows has waited.'],
    [dead_letters       => 'dead_letters', '',        'Dead letters, which wait to be mended.'],
    [followed           => 'follower',     '',        '1 if a process follows the outbox, otherwise 0.'],
);

sub new {
    my ($class, @given) = @_;
    my %given = $SETTINGS->options('new takes settings', \@given, 'setting %s', qw(hub table));
    my $hub   = $given{hub};
    $SETTINGS->named_hub($hub, ': a follower in another process publishes to it');
    my $given = $SETTINGS->string(table => $given{table});
    my $table = $DATABASE->table_of($given, sub { $SETTINGS->refuse(table => shift) });
    return bless {hub => $hub, table => $table}, $class;
}

# Public methods

# Tells the follower that something was committed, unless the database is known to do so. Rows may be written by others.
sub committed {
    my $self = shift;
    return if defined $self->{needs_hint} && !$self->{needs_hint};
    my @hint = ($FOLLOWER->channel_of_hints, $self->{table}, {wait => 0});
    EventSource::Error->attempt(sub { $self->{hub}->publish(@hint) });
    return;
}

sub follow {
    my ($self, @given) = @_;
    my %follower = $self->_follower(follow => @given);
    my $loop     = EventSource::XS::Loop->current(may_choose => 1);
    $SETTINGS->throw(state =>
            'follow needs an event loop, and none is loaded here: run "eventsource outbox" as a process of its own, or,'
            . ' on a server with an event loop, load that first: AnyEvent, for example')
        if !$loop;
    my $run = EventSource::XS::Outbox::FollowerLoop->in_loop($loop, %follower);
    weaken($self->{run} = $run);
    return $run;
}

sub forget {
    my ($self, $handle, $channel, $key, $event, @options) = @_;
    return $self->publish($handle, $channel, EventSource::XS::Hub::Calls->forgetting($key, $event), @options);
}

# Calls code with the table, in the database of the application's handle. The command calls this, too. The third argument is
# true if the code only reads.
sub look {
    my ($self, $handle, $code, $reads) = @_;
    my ($dbh, $class) = _dbh_of($handle);
    my $table = $class->new(dbh => $dbh, table => $self->{table});
    my $looks = sub {
        my ($verdict, $clause, $remedy) = $table->trouble_of_policies;
        $SETTINGS->throw(refused => "the table $clause: $remedy") if $verdict && $verdict eq 'wrong';
        return $code->($table);
    };
    return $self->_lend($class, $dbh, $reads ? sub { $class->read_apart($dbh, $looks) } : $looks);
}

# The counts for a monitor. The handle is taken anew for each answer: one that is kept may break, or belong to another process.
sub metrics_app {
    my ($self, @given) = @_;
    my @names   = qw(allow connect hosts token);
    my %given   = $SETTINGS->options('metrics_app takes options', \@given, 'option %s of metrics_app', @names);
    my $connect = $self->_connect_of(\%given);
    require EventSource::XS::MetricsApp;
    return EventSource::XS::MetricsApp->new(
        $SETTINGS,
        \%given,
        sub {
            my $text;
            local ($@, $SIG{__DIE__});
            return $text if eval { $text = $self->openmetrics($connect->()); 1 };
            my $reason = EventSource::XS::Reason->of($@);
            $SETTINGS->throw(unavailable => "the database answers nothing: $reason");
        }
    );
}

# The counts as text of OpenMetrics 1.0. The names of a hub and of a table need no escapes.
sub openmetrics {
    my ($self, $handle) = @_;
    my $labels = qq(hub="$self->{hub}{name}",table="$self->{table}");
    my $counts = $self->stats($handle);
    $counts->{follower} = defined $counts->{follower} ? 1 : 0;
    my $text = '';
    for my $gauge (@GAUGES) {
        my ($name, $count, $unit, $help) = ("eventsource_outbox_$gauge->[0]", @$gauge[1 .. 3]);
        $text .= "# TYPE $name gauge\n";
        $text .= "# UNIT $name $unit\n" if length $unit;
        $text .= "# HELP $name $help\n$name\{$labels} $counts->{$count}\n";
    }
    return "$text# EOF\n";
}

# Writes a row, in the transaction of the handle. The hub checks the event in the form that it will have.
sub publish {
    my ($self, $handle, $channel, $event, @options) = @_;
    my $given  = ref $event eq 'HASH'      ? {%$event}      : {data => $event};
    my %option = ref $options[0] eq 'HASH' ? %{$options[0]} : ();
    $SETTINGS->refuse(undef, 'options must be a hash, such as {once => $key}') if @options && ref $options[0] ne 'HASH';
    $SETTINGS->known(\%option, ['once'], 'option %s');
    my ($dbh, $class) = _dbh_of($handle);
    $self->{hub}->_check($channel, defined $event ? $given : undef, \%option);
    my $row = EventSource::XS::Outbox::Row->of_event($channel, $given, $option{once});

    for my $column (grep { defined $row->{$_} } qw(channel comment data event_key json once)) {
        my $field = $column eq 'event_key' ? 'key' : $column;
        $SETTINGS->refuse($field, 'an event of an outbox must not contain a NUL: no text of PostgreSQL can')
            if $row->{$column} =~ /\0/;
        $SETTINGS->refuse($field, "an event of an outbox has at most $MAX_BYTES bytes")
            if length $row->{$column} > $MAX_BYTES;
    }
    $SETTINGS->throw(refused =>
            "the table $self->{table} has taken no row: look at its triggers and rules, and at Callbacks of the handle")
        if !$self->_lend($class, $dbh, sub { $class->insert($dbh, $self->{table}, $row) });

    # A worker that blocks may have loaded the module of an event loop, which never runs.
    EventSource::XS::ErrorLog->warn(__PACKAGE__
            . ': the follower of this worker has not begun, because its event loop does not run: run "eventsource outbox" as a process'
            . " of its own instead of follow\n")
        if $self->{run} && $self->{run}->is_still && !$self->{has_warned}++;
    $self->{needs_hint} = $class->needs_hint;
    return !!1;
}

sub retry {
    my ($self, $handle, @ids) = @_;
    $SETTINGS->refuse(id => 'id must be the number of a row')
        if grep { !defined || !/\A-?[0-9]{1,20}\z/ } @ids;    # up to 2**64, which no number of some perls is
    return $self->look($handle, sub { $_[0]->retry(@ids) });
}

# Runs a follower until a signal ends it, in a process of its own.
sub run {
    my ($self, @given) = @_;
    return EventSource::XS::Outbox::FollowerLoop->until_signal($self->_follower(run => @given));
}

sub schema {
    my ($class, $kind) = @_;
    $SETTINGS->one_of(kind => $kind, $DATABASE->schemas);
    $SETTINGS->refuse(kind => 'schema takes the kind of a database: ' . join ', ', $DATABASE->schemas)
        if !defined $kind;
    return $DATABASE->schema($kind, ref $class ? $class->{table} : $DATABASE->table_of);
}

sub stats {
    my ($self, $handle) = @_;
    return $self->look($handle, sub { $_[0]->counts }, 1);
}

# Private methods and functions

sub _connect_of {
    my ($self, $given) = @_;
    my $connect = $SETTINGS->code(connect => $given->{connect});
    $SETTINGS->refuse(connect => 'connect must be code that returns a new handle of DBI') if !defined $connect;
    return
        sub { $connect->() || die 'connect has returned no handle: ' . (DBI->errstr || 'and DBI has no error') . "\n" };
}

# The handle of DBI, and the class for its database. Other modules have one inside: DBIx::Class, Mojo::Pg, Mojo::SQLite,
# DBIx::Connector.
sub _dbh_of {
    my $handle = shift;
    my $dbh    = $handle;
    $dbh = $dbh->storage if blessed $dbh && $dbh->can('storage');
    $dbh = $dbh->dbh     if blessed $dbh && !$dbh->isa('DBI::db') && $dbh->can('dbh');
    $SETTINGS->refuse(
        dbh => 'dbh must be a handle of DBI, or an object that has one, such as a schema of DBIx::Class or a'
            . ' database of Mojo::Pg')
        if !blessed $dbh || !$dbh->isa('DBI::db');
    local ($@, $SIG{__DIE__});
    my $class = eval { $DATABASE->class_for($dbh) } // $SETTINGS->refuse(dbh => $@ =~ s/\n//r);
    return ($dbh, $class);
}

# Calls code while the handle has our attributes. What DBI throws has its place in our code: it is thrown at the caller's line,
# with the remedy if there is one. HandleError may throw objects.
sub _lend {
    my ($self, $class, $dbh, $code) = @_;
    my ($is_done, $result, $error);
    {
        local ($@, $SIG{__DIE__});
        $is_done = eval { $result = $class->lend($dbh, $code); 1 };
        $error   = $@;
    }
    return $result if $is_done;
    die $error     if ref $error;
    my $remedy = $class->remedy($dbh, $self->{table});
    die EventSource::XS::Reason->without_place($error) . $remedy . EventSource::Error->here->{location};
}

sub _follower {
    my ($self, $method, @given) = @_;
    my %given = $SETTINGS->options("$method takes settings", \@given, 'setting %s', qw(connect keep lease poll report));
    my $connect = $self->_connect_of(\%given);
    $SETTINGS->seconds(keep => $given{keep});
    $SETTINGS->seconds($_   => $given{$_}, is_above_zero => 1) for qw(lease poll);
    $SETTINGS->refuse(lease => "lease must be $SHORT_LEASE to $LONG_LEASE seconds")
        if defined $given{lease} && ($given{lease} < $SHORT_LEASE || $given{lease} > $LONG_LEASE);
    $SETTINGS->code(report => $given{report});
    my $hub   = $self->{hub};
    my %place = map { defined $hub->{$_} ? ($_ => $hub->{$_}) : () } qw(autostart name show_channel socket);
    my ($table, $keep) = ($self->{table}, $given{keep});
    my %option = (
        lease  => defined $given{lease} ? $given{lease} : $LEASE,
        report => $given{report} || sub { EventSource::XS::ErrorLog->warn(__PACKAGE__ . ": $_[0]\n") },
        table  => $table,
    );
    my $new = sub {
        my %of_process = @_;
        return $FOLLOWER->new(
            connect_database => $connect,
            connect_hub      => sub { EventSource::Hub::Process->connect(%place) },
            database_for     => sub {
                my ($dbh, $class) = _dbh_of(shift);
                return $class->new(files => $of_process{files}, keep => $keep, table => $table);
            },
            keep => $keep,
            poll => $given{poll},
            %option,
            %of_process,
        );
    };
    return (follower => $new, %option);
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Outbox - Publish events exactly if their transaction is committed

=head1 SYNOPSIS

    use DBI;
    use EventSource::Hub;
    use EventSource::Outbox;

    my $hub    = EventSource::Hub->new(name => 'shop');
    my $outbox = EventSource::Outbox->new(hub => $hub);

    my $dbh = DBI->connect('dbi:SQLite:dbname=:memory:', '', '', {RaiseError => 1, PrintError => 0});
    $dbh->do($_) for 'CREATE TABLE stock (id INTEGER, left INTEGER)', split /;\n\n/, $outbox->schema('sqlite');

    $dbh->begin_work;
    $dbh->do('UPDATE stock SET left = left - 1 WHERE id = ?', undef, 7);
    $outbox->publish($dbh, 'stock/7' => {key => 7, json => {left => 2}, retain => 1});    # a row: nothing is sent
    $dbh->commit;                                                                         # now it is

=head1 DESCRIPTION

C<publish> writes a row in the transaction that changes the database. A follower publishes each committed row to the hub, and
deletes it. Make the tables, and run the follower (L<eventsource/outbox>):

    eventsource outbox --schema pg | psql shop
    eventsource outbox --hub shop --dsn dbi:Pg:dbname=shop

It works with PostgreSQL 13 (L<DBD::Pg>), MariaDB 10.5 and MySQL 8.0.16 (L<DBD::MariaDB>, L<DBD::mysql>), SQLite 3.31
(L<DBD::SQLite>), and newer versions. See L<EventSource::Deployment/OUTBOX>, and L<EventSource::Cookbook/AN ORDER FORM> for an
application.

=head2 What is promised

=over

=item Exactly if

An event is published if its transaction was committed, whatever is killed, and never if it was rolled back, also to a
savepoint. A row that the hub refuses waits (L</Dead letters>).

=item Once

The hub takes each row once, within the bounds of C<once> (L<EventSource::Hub/publish>). If a hub process without a
L<store|EventSource::Hub/store> is killed, clients may receive at most 256 rows again, after a gap. The state is gone then, as
the log says: with C<retain> give the hub a store, or publish the state anew.

=item Order

Rows are published in the order of the calls of C<publish>; a row whose transaction commits late is late. Events of a key (or
of a channel, without key) come in the order of commits if you publish after the statement that changes the row. A row that the
hub refuses for now delays later ones of its key only.

=item Soon

PostgreSQL notifies the follower at a commit. Others are asked every C<poll> seconds (L</follow>), and after L</committed>.

=back

=head2 Several followers

One follower follows a table at a time. When it ends the next one takes over within a second; when it was killed or hangs, or
the database does not answer it, after C<lease> seconds. Two followers at once do no harm.

=head2 Dead letters

A row that the hub refuses, such as one with more to retain than C<keep_state> allows, or with C<json> that is not JSON,
delays no others. Nor does a row whose text cannot become UTF-8, which PostgreSQL takes with encodings such as C<SQL_ASCII>. It
stays as a dead letter, with C<state> 2 and the reason in C<problem>. So do rows that are refused for five minutes while others
are published, and published rows that cannot be deleted.

A row whose texts have more than 33 MiB together, or with a name of more than 4096 bytes, is not read. SQLite writes a row as a
whole, so a follower does not mark one with more than 64 MiB. It sets the row aside, and the log shows the C<DELETE> that
removes it.

A row that another session has locked, or that can be neither deleted nor changed (a trigger, a C<CHECK ... NOT VALID>), is set
aside, and the log names it. The others go on. If the hub has refused the row, later ones of its key wait. A follower sets at
most 1000 rows aside: if there are more, it publishes none until they are fewer, and the log says so.

    eventsource outbox --hub shop --dsn dbi:Pg:dbname=shop --list

The log names a dead letter at once. If there are more within ten seconds, the next line names one and counts the others. A
follower that begins says how many dead letters there are.

Mend a row by an C<UPDATE>, or raise C<keep_state> of the hub, and call L</retry>. It is published after those of its key that
came meanwhile. C<--drop> deletes it.

=head2 From SQL

Triggers and other languages publish with an C<INSERT>:

    INSERT INTO eventsource_outbox (channel, event_key, json, retain) VALUES ('stock/7', '7', '{"left": 2}', TRUE);
    INSERT INTO eventsource_outbox (channel, event_key, forget) VALUES ('stock/7', '7', TRUE);

C<data> is text, C<event_key> the key, C<event_id> the id; C<event>, C<retry> (milliseconds), C<comment> and C<once> are as in
L</publish>, and C<eventsource outbox --schema> has the limits. Other columns are for the follower.

PostgreSQL has a function (C<app.outbox_publish> for the table C<app.outbox>). This trigger publishes each change of a
table. Without C<SECURITY DEFINER>, whoever changes the table needs the right to insert into the outbox.

    CREATE FUNCTION stock_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    BEGIN
        IF TG_OP = 'DELETE' OR TG_OP = 'UPDATE' AND OLD.id <> NEW.id THEN
            PERFORM eventsource_outbox_publish('stock', key => OLD.id::text, forget => true);
        END IF;
        IF TG_OP <> 'DELETE' THEN
            PERFORM eventsource_outbox_publish('stock', json => row_to_json(NEW), key => NEW.id::text, retain => true);
        END IF;
        RETURN NULL;
    END
    $$;
    CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON stock FOR EACH ROW EXECUTE FUNCTION stock_changed();

C<TRUNCATE> publishes nothing.

In MariaDB and MySQL a column may have another character set. If a program has written UTF-8 over a connection with another
character set, such as C<latin1>, the column has other characters, and these are published: C<Ã¼> for C<ü>. Such a program
needs C<SET NAMES utf8mb4>.

=head1 METHODS

All strings are characters (L<EventSource::Hub/Names>). Wrong arguments throw an L<EventSource::Error> with the code C<invalid>
at the caller's line, and nothing is written. Errors of the database are thrown at that line as L<DBI> words them, whatever
the handle's C<HandleError> returns.

A handle is one of L<DBI>, with any attributes, or an object with one: a schema or storage of L<DBIx::Class>
(0.082843 does not know L<DBD::MariaDB>), a database of L<Mojo::Pg> or L<Mojo::SQLite>, an L<DBIx::Connector>.

=head2 new

    my $outbox = EventSource::Outbox->new(hub => $hub, table => 'shop.outbox');

C<hub>, an L<EventSource::Hub> with a name, is required. C<table> is C<eventsource_outbox> by default: letters, digits and
underscores, at most 40 characters, in PostgreSQL and MariaDB perhaps with a schema. A second table, C<TABLE_follower>, says
who follows.

=head2 committed

    $outbox->committed;

Tell the follower, without waiting, that rows were committed, also by SQL. With MariaDB and MySQL that saves up to C<poll>
seconds, with others nothing. Throws nothing.

=head2 follow

    our $follower = $outbox->follow(
        connect => sub { DBI->connect('dbi:Pg:dbname=shop', 'shop', $password, {RaiseError => 1}) },
    );

Run a follower in a process beside this worker, until the returned object is freed or its method C<stop> called. Each worker
may have one. A worker with the same file of SQLite open must not start it.

Throws C<state> if no event loop is loaded (under Twiggy, C<use AnyEvent> before); on a server that blocks run C<eventsource
outbox> instead. Times are seconds, fractions allowed:

    connect    required: code, run in that process, that returns a new handle of DBI whenever it needs one
    keep       how long published rows stay; 0 by default
    lease      when another follower takes over from a killed one: 1 to 86,400, 10 by default
    poll       when the follower looks for rows at the latest: above 0; by default 1 with PostgreSQL,
               0.05 with MariaDB and MySQL, 0.02 with SQLite
    report     code that is called with each line about the work; a warning by default

=head2 forget

    $outbox->forget($dbh, $channel, $key, {event => 'sold', json => {id => 7}}, {once => $once});

Write a row that forgets a key (L<EventSource::Hub/forget>); otherwise as L</publish>.

=head2 metrics_app

    mount '/metrics/outbox' => $outbox->metrics_app(connect => sub { $schema->storage->dbh }, allow => \&is_monitor);

Return a PSGI application that answers C<GET> with L</openmetrics>, or with a 503 and the reason. C<connect> returns a handle
with the rights of a follower. C<allow>, C<hosts> and C<token> are those of L<EventSource::Hub/metrics_app>.

=head2 openmetrics

    my $text = $outbox->openmetrics($dbh);

Return the L</stats> as text of OpenMetrics 1.0 (L<EventSource::Monitoring/Metrics of an outbox>).

=head2 publish

    $outbox->publish($dbh, $channel, $data);
    $outbox->publish($dbh, $channel, {event => $type, data => $data, key => $key, retain => 1});
    $outbox->publish($dbh, $channel, {json => $structure}, {once => $once});

Write a row in the transaction of a handle, or in one of its own, and return true. Channel, event and C<once> are those of
L<EventSource::Hub/publish>, and checked as there, but for the types of the hub's own events. Texts have no NUL, and an event
has at most 16,000,000 bytes, and less than C<max_allowed_packet> of MariaDB and MySQL.

=head2 retry

    my $count = $outbox->retry($dbh, 17, 18);

Let these dead letters wait again, or all; return how many. If C<AutoCommit> of the handle is off, you have to commit.

=head2 run

    $outbox->run(connect => sub { DBI->connect(...) });

Run a follower, with the settings of L</follow>, until the signal INT or TERM.

=head2 schema

    my $sql = EventSource::Outbox->schema('pg');
    my $sql = $outbox->schema('sqlite');

Return the SQL that makes the tables (of an object: its own) for C<pg>, C<mysql> (also MariaDB) or C<sqlite>. Statements end
with a semicolon and an empty line.

=head2 stats

    my $stats = $outbox->stats($dbh);

Return the counts of the table. Needs the rights of a follower.

If C<AutoCommit> of the handle is off, reading begins a transaction, and C<stats> rolls it back, as do L</openmetrics> and
L</metrics_app>. A transaction that your application has begun is left alone. The counts are then those that this transaction
sees, which may be old, and its locks stay.

    waiting       rows to be published
    dead_letters  rows that wait to be mended
    oldest_age    seconds since the oldest of them was written; 0 without one
    follower      machine and number of the process that follows; undefined without one

=cut
