# The application of t/outbox/worker.t and t/outbox/silent.t: a follower in the worker of a server with an event loop.

use Testing::Application qw(answer);
use if !$ENV{OUTBOX_NO_LOOP}, 'AnyEvent';
use DBI;
use EventSource::Hub;
use EventSource::Outbox;

my @login   = @ENV{qw(OUTBOX_DSN OUTBOX_USER OUTBOX_PASSWORD)};
my $connect = sub { DBI->connect(@login, {RaiseError => 1, PrintError => 0, AutoInactiveDestroy => 1}) };
my $hub     = EventSource::Hub->new(name => 'worker', socket => $ENV{OUTBOX_SOCKET}, start => 'oldest');
my $outbox  = EventSource::Outbox->new(hub => $hub);
our $follower = eval { $outbox->follow(connect => $connect, lease => 1) };
my $error = $@;
our $kept = $ENV{OUTBOX_KEPT} && $connect->();
$kept->do('SELECT 1 FROM eventsource_outbox') if $kept;
undef $follower                               if $ENV{OUTBOX_FREED};

my $streams = $hub->to_app(channels => sub { return 'news' });

sub {
    my $env = shift;
    return $streams->($env) if $env->{PATH_INFO} eq '/events';
    return answer("$error") if $env->{PATH_INFO} eq '/error';
    undef $follower         if $env->{PATH_INFO} eq '/stop';
    my $dbh = $connect->();
    $dbh->begin_work;
    $outbox->publish($dbh, news => $env->{PATH_INFO});
    $dbh->commit;
    $outbox->committed;
    return answer('committed');
};
