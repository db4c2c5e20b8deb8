# What the doctor says of the real proxies that hinder streams. It runs behind all of them at the same time.

use lib 't/lib';
use Testing;
use Testing::Doctor qw(is_fine is_wrong);
use Testing::NamedProxies;
use Testing::Server;

my $COMPRESSED = qr/compressed \(gzip\), and (?:no text has come|the compressor withholds)/;

# The check that finds what is wrong, and its sentence; nothing if nothing is. HAProxy is in haproxy.t.
my %FOUND = (
    'nginx, buffering'        => undef,                                             # it passes on what chunks bring
    'nginx, HTTP/1.0'         => [buffering => qr/A poll.*holds responses back/],
    'nginx, gzip'             => undef,
    'nginx, cache'            => [cached => qr/that to another request/],
    'Squid'                   => undef,
    'Varnish'                 => undef,
    'Varnish, gzip'           => [compression => $COMPRESSED],
    'Apache, mod_deflate'     => undef,
    'Caddy, gzip'             => [compression => $COMPRESSED],
    'http-proxy, compression' => undef,                                             # it obeys no-transform
);

my $server = Testing::Server->start('Starman', 't/data/doctor.psgi', workers => 1, args => ['--disable-keepalive']);
$server->ask('/publish?first');
my @names = grep { exists $FOUND{$_} && !Testing::NamedProxies->missing($_) } Testing::NamedProxies->names;
my @runs;
for my $name (@names) {
    my $proxy = Testing::NamedProxies->start($name, $server);
    push @runs, [$name, $proxy, Testing::Doctor->start('--seconds', 3, $proxy->url('/events'))];
}
for my $run (@runs) {
    my ($name, $proxy, $doctor) = @$run;
    my ($check, $sentence) = @{$FOUND{$name} || []};
    if ($check) { is_wrong($doctor, $check, 'wrong', $sentence, $name) }
    else        { is_fine($doctor, $name) }
    like $doctor->finding('poll')->{sentence}, qr/hub[.]js polls/, "$name: pages poll" if ($check || '') ne 'cached';
}

done_testing;
