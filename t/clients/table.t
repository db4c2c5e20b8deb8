# The table of client libraries in the POD says what the tests measure, and the versions are those that they install.

use lib 't/lib';
use Testing;
use JSON::PP                   ();
use Testing::Clients::Expected qw(clients gives_up headings runs table version);
use Testing::SourceTree        qw(slurp);

sub text_of { return slurp(shift, ':encoding(UTF-8)') }

my $pod = text_of('perl/EventSource/Clients.pod');
my ($table) = $pod =~ /^=head1 CLIENTS\n\n(.*?)\n=head2/ms;
is $table, table(), 'perl/EventSource/Clients.pod has the table of Testing::Clients::Expected';
my $gives_up = join ', ', gives_up();
like $pod, qr/these give up:\n\Q$gives_up\E[.]$/m, 'and who gives up after a 429';
is_deeply [$pod =~ /^=head2 (.*)$/mg], [headings(), 'openai'], 'it says why of each client with a fault';

my %npm      = %{JSON::PP::decode_json(text_of('t/clients/package.json'))->{dependencies}};
my %python   = text_of('t/clients/requirements.txt') =~ /^([\w-]+)==(\S+)$/mg;
my %datastar = (Datastar => text_of('t/clients/datastar.txt') =~ /version (\S+),/);
my %rust     = text_of('t/clients/rust/Cargo.toml') =~ /^([\w-]+) = .*?"=([\d.]+)"/mg;
my %npm_name = (
    htmx                 => 'htmx.org',
    'fetch-event-source' => '@microsoft/fetch-event-source'
);

for my $client (grep { length version($_) } clients()) {
    my $name = $npm_name{$client} // $client =~ tr/ /-/r;
    my $pin = {browser => {%npm, %datastar}, node => \%npm, python => \%python, rust => \%rust}->{runs($client)}{$name};
    is $pin =~ s/.*@//r, version($client), "$client is installed in the version of the table";
}

done_testing;
