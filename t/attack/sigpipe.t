# A client that resets its connection raises no SIGPIPE in its server: streams leave the server's disposition of each
# signal as it is. uWSGI's SIGPIPE handler is set in C, so perl knows nothing of it and cannot restore it.

use lib 't/lib';
use Testing;
use POSIX qw(SIGALRM);
use Testing::Client;
use Testing::Server;

# The signals that each process ignores and those that it handles: the first 31, for the C library keeps 32 and 33 for its
# threads. Without the process ids: Starman starts another worker when a TLS handshake fails. Without SIGALRM: a server that
# blocks handles it while it reads or writes.
sub dispositions {
    my $server = shift;
    my @signals;
    for my $pid ($server->pids) {
        open my $status, '<', "/proc/$pid/status" or next;
        my @masks = join('', readline $status) =~ /^Sig(?:Ign|Cgt):\s+[0-9a-f]{8}([0-9a-f]{8})$/gm;
        push @signals, join ' ', map { sprintf '%08x', hex($_) & ~(1 << SIGALRM - 1) } @masks;
    }
    return @signals;
}

for my $name (Testing::Server->names) {
    for my $tls (0, 1) {
        next if $tls && $name !~ /\A(?:HTTP::Server::PSGI|Starman|uWSGI)\z/;
        subtest $tls ? "$name, TLS" : $name => sub {
            my %env    = (EXIT_NATIVE => 'auto', EXIT_JOURNAL => '/dev/null');
            my $server = Testing::Server->start($name, 't/data/exit.psgi', tls => $tls, workers => 1, env => \%env);
            my %option = (certificate => $server->certificate);
            my $get    = sub { Testing::Client->get($server->at, @_, %option) };
            ok $get->('/plain', headers => [Connection => 'close'])->read_all, 'an ordinary request is answered';
            my %before = map { $_ => 1 } dispositions($server);

            for my $count (1 .. 4) {
                my $client = $get->('/held');
                ok $client->read_until(qr/^event: held\r\n\r\n/m), "stream $count begins" or return;
                $client->leave(reset => $count % 2);
            }
            ok $get->('/plain', headers => [Connection => 'close'])->read_all, 'another ordinary request is answered';
            my @changed;
            wait_until sub {
                !(@changed = grep { !$before{$_} } dispositions($server));
            };
            is_deeply \@changed, [], 'each process handles and ignores the same signals as before';
        };
    }
}

done_testing;
