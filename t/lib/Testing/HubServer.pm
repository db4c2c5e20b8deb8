package Testing::HubServer;
use Testing;

# A server with one process and a hub (t/data/hub.psgi), and the requests and checks of its tests.
#
#   my $server = Testing::HubServer->start('Starman', settings => {on_slow => 'gap'}, native => 0);
#   my $client = $server->stream('/hub', channels => 'a,b');
#   $server->publish(channel => 'a', count => 3);

use parent 'Testing::Server';
use Testing::Client;
use Exporter           qw(import);
use Testing::NamedHubs ();
use Testing::Server    qw(path);
use JSON::PP           ();

our @EXPORT_OK = qw(path);

sub is_loop { return $_[0]{name} =~ /Twiggy|Feersum/ }

# Publishes numbered events and returns their ids. Options: channel, one or several in turn; count, from, bytes; keys, how
# many different ones; ids => 1, the numbers are the ids.
sub publish { my $self = shift; return split / /, $self->ask('/publish', @_) }

sub start {
    my ($class, $name, %option) = @_;
    my $settings = delete $option{settings} || {};
    my $native   = delete $option{native};
    $settings = {Testing::NamedHubs->settings(%$settings)} if Testing::NamedHubs->is_on;
    my %env = (HUB_SETTINGS => JSON::PP::encode_json({per_process => 1, %$settings}), %{delete $option{env} || {}});
    $env{HUB_NATIVE} = $native if defined $native;
    return $class->SUPER::start($name, 't/data/hub.psgi', workers => 1, %option, env => \%env);
}

# Waits until the statistics meet a condition, and makes a test of it.
sub stats_ok {
    my ($self, $condition, $what) = @_;
    my $stats;
    my $is_so = wait_until(sub { $stats = $self->stats; local $_ = $stats; $condition->($stats) });
    return ok($is_so, $what) || diag(explain($stats));
}

# Opens a stream and waits for its position. Returns its client. Options of the client: class, http, id (its Last-Event-ID).
sub stream {
    my ($self, $path, %query) = @_;
    my $class   = delete $query{class} || 'Testing::Client';
    my %option  = (http => delete $query{http});
    my $id      = delete $query{id};
    my @headers = defined $id ? ('Last-Event-ID' => $id) : ();
    return $class->stream($self->port, path($path, %query), %option, headers => \@headers);
}

1;
