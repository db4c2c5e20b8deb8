package Testing::Outbox;
use Testing;

# An outbox in a database that the test has started, a hub, and the follower, the program `eventsource outbox`.
#
#   my $outbox = Testing::Outbox->new($database, $shell, hub => 'test');
#   $outbox->outbox->publish($dbh, news => 'hello');
#   my $follower = $outbox->follow('--keep', 10);    # a Testing::Program
#   my @events = $outbox->events(3, 'news');

use EventSource::Hub;
use EventSource::Outbox;
use Testing::FollowedLog qw(followed);

# The tables of a schema.
sub create_tables {
    my ($class, $dbh, $outbox) = @_;
    my $kind = EventSource::XS::Outbox::Database->class_for($dbh)->schema_kind;
    local $dbh->{PrintWarn} = 0;
    $dbh->do($_) for grep { /\S/ } split /;\n(?:\n|\z)/, $outbox->schema($kind);
    return;
}

sub database { return $_[0]{database} }

sub hub { return $_[0]{hub} }

# Options: hub, the name of the hub; settings, an array of its settings; table.
sub new {
    my ($class, $database, $shell, %option) = @_;
    my $name   = $option{hub} || 'test';
    my $socket = $shell->folder . "/$name.sock";
    my $hub    = EventSource::Hub->new(name => $name, socket => $socket, @{$option{settings} || []});
    my $outbox = EventSource::Outbox->new(hub => $hub, map { defined $option{$_} ? ($_ => $option{$_}) : () } 'table');
    my $self   = bless {
        database => $database,
        hub      => $hub,
        name     => $name,
        outbox   => $outbox,
        shell    => $shell,
        table    => $option{table},
    }, $class;
    $hub->publish(begin => 'the process runs');
    $class->create_tables($database->connect, $outbox);
    return $self;
}

# The command with the options that name the database and the hub.
sub command {
    my ($self, @options) = @_;
    my @user  = defined $self->{database}->user ? ('--user',  $self->{database}->user) : ();
    my @table = defined $self->{table}          ? ('--table', $self->{table})          : ();
    return ('outbox', '--hub', $self->{name}, '--dsn', $self->{database}->dsn, @user, @table, @options);
}

# The events of topics, as soon as there are so many and no more come; or those that have come until the deadline.
sub events {
    my ($self, $count, @topics) = @_;
    my @events;
    my $look = sub { followed($self->{shell}->connect($self->{name}), $count, @topics) };
    wait_until($DEADLINE, sub { @events = $look->(); @events >= $count });
    return @events;
}

sub follow {
    my ($self, @options) = @_;
    local $ENV{EVENTSOURCE_OUTBOX_PASSWORD} = $self->{database}->password;
    return $self->{shell}->start($self->command(@options));
}

sub outbox { return $_[0]{outbox} }

sub run {
    my ($self, @options) = @_;
    local $ENV{EVENTSOURCE_OUTBOX_PASSWORD} = $self->{database}->password;
    return $self->{shell}->run($self->command(@options));
}

sub run_hub {
    my ($self, $command, @options) = @_;
    return $self->{shell}->run($command, '--hub', $self->{name}, @options);
}

sub stats {
    my $self   = shift;
    my $handle = $self->{handles}{$$};
    $handle = $self->{handles}{$$} = $self->{database}->connect if !$handle || !$handle->ping;
    return $self->{outbox}->stats($handle);
}

# Waits until no row waits.
sub wait_until_empty {
    my $self = shift;
    return wait_until($DEADLINE, sub { !$self->stats->{waiting} });
}

1;
