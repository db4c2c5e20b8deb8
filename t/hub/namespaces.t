# The hub process and its workers may be in different PID namespaces, as in different containers: the kernel then tells neither
# the process id of the other, only its user.

use lib 't/lib';
use Testing;
use Testing::CommandLine;
use EventSource::Hub::Process ();
use Testing::Developer        qw(needs_command);

needs_command('unshare');
my @NAMESPACE = qw(unshare --map-root-user --pid --fork --kill-child);
plan skip_all => 'this system gives a process no PID namespace of its own' if system(@NAMESPACE, 'true') != 0;

my $shell    = Testing::CommandLine->new;
my $socket   = $shell->folder . '/shop.sock';
my @place    = (name => 'shop', socket => $socket, autostart => 0);
my $process  = Testing::Program->new('hub');
my @listener = (EventSource::Hub::Process->program, qw(run --name shop --socket), $socket);
$process->run({}, @NAMESPACE, @listener);
ok wait_until($DEADLINE, sub { -S $socket }), 'a hub process runs in a PID namespace' or diag $process->log;

# Each side of a connection in turn cannot see the other: this process sees into the namespace of the hub process, but not the
# other way round; a process in another namespace and the hub process do not see each other.
my $hub = EventSource::Hub::Process->connect(@place);
like $hub->publish(news => 'from outside'), qr/-1\z/, 'a process outside publishes';
is_deeply $hub->stats->{workers}, [], 'the hub process does not list a process that it cannot see';

my @elsewhere = (@NAMESPACE, $^X, '-Mblib', 'bin/eventsource');
my @publish   = (qw(publish --hub shop --socket), $socket, qw(news elsewhere));
open my $from, '-|', @elsewhere, @publish or die "unshare: $!\n";
chomp(my $id = readline($from) // '');
close $from;
is $?, 0, 'a command in a namespace of its own publishes' or diag $process->log;
like $id, qr/-2\z/, 'to the same hub';

$hub->stop;
ok wait_until($DEADLINE, sub { $process->has_ended }), 'the hub process stops';

done_testing;
