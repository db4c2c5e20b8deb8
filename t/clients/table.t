# The table of client libraries in the POD says what the tests measure, and the versions are those that they install.

use lib 't/lib';
use Testing;
use JSON::PP                   ();
use Testing::Clients::Expected qw(clients pod runs version);

sub slurp {
    my $path = shift;
    open my $file, '<:encoding(UTF-8)', $path or die "$path: $!\n";
    local $/;
    return scalar readline $file;
}

my ($is) = slurp('perl/EventSource/Clients.pod') =~ /^=for comment generated\n\n(.*?)\n=for comment end\n/ms;
is $is, pod(), 'perl/EventSource/Clients.pod has what Testing::Clients::Expected says (its pod prints the text)';

my %npm      = %{JSON::PP::decode_json(slurp('t/clients/package.json'))->{dependencies}};
my %python   = slurp('t/clients/requirements.txt') =~ /^([\w-]+)==(\S+)$/mg;
my %rust     = slurp('t/clients/rust/Cargo.toml')  =~ /^([\w-]+) = .*?"=([\d.]+)"/mg;
my %npm_name = (
    Datastar             => '@starfederation/datastar',
    htmx                 => 'htmx.org',
    'fetch-event-source' => '@microsoft/fetch-event-source'
);
for my $client (grep { length version($_) } clients()) {
    my $name = $npm_name{$client} // $client =~ tr/ /-/r;
    my $pin  = {browser => \%npm, node => \%npm, python => \%python, rust => \%rust}->{runs($client)}{$name};
    is $pin =~ s/.*@//r, version($client), "$client is installed in the version of the table";
}

done_testing;
