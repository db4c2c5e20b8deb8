package Testing::Clients::Expected;
use strict;
use warnings;

# What each client does, as the tests in xt/clients measure it: its own faults. A client that does more or less than this fails
# the test. perl/EventSource/Clients.pod has the same as a table, and the reason of each fault.
#
#   is_deeply $measured, expected('curl')->{data};

use Carp     qw(croak);
use Exporter qw(import);

our @EXPORT_OK = qw(clients coding expected gives_up headings runs table version);

# The questions, and how they are called in the table.
my @QUESTIONS = (
    [data     => 'data'],
    [cuts     => 'once'],
    [early    => 'early cut'],
    [head     => 'cut head'],
    [harmless => 'quiet'],
    [gap      => 'gap'],
    [end      => 'end'],
);

# The clients: name, version if the tests install it, what it runs in.
my @CLIENTS = (
    ['Chromium',              '',       'browser'],
    ['eventsource 2',         '2.0.2',  'node'],
    ['eventsource 5',         '5.1.5',  'node'],
    ['event-source-polyfill', '1.0.31', 'browser'],
    ['fetch-event-source',    '2.0.1',  'browser'],
    ['Datastar',              '1.0.1',  'browser'],
    ['htmx',                  '2.0.11', 'browser'],
    ['htmx 4',                '4.0.1',  'browser'],
    ['httpx-sse',             '0.4.3',  'python'],
    ['sseclient-py',          '1.9.0',  'python'],
    ['reqwest-eventsource',   '0.6.0',  'rust'],
    ['eventsource-client',    '0.18.0', 'rust'],
    ['curl',                  '',       'curl'],
);

# A client that xt/clients/openai.t runs, with its answers: it has no last event ID.
my @OPENAI =
    ('openai', data => 'yes', cuts => '-', early => 'no', head => 'yes', harmless => 'no', gap => '-', end => 'yes');

# The faults: the client, the question, and what the test measures.
my @FAULTS = (
    ['Chromium',              head  => ['gives up']],
    ['eventsource 2',         cuts  => ['one event is lost']],
    ['event-source-polyfill', head  => ['gives up']],
    ['fetch-event-source',    data  => ['an empty line first', 'a byte order mark']],
    ['fetch-event-source',    cuts  => ['one event is lost']],
    ['fetch-event-source',    end   => ['does not come back']],
    ['Datastar',              cuts  => ['one event is lost']],
    ['Datastar',              head  => ['gives up']],
    ['Datastar',              end   => ['does not come back']],
    ['htmx',                  end   => ['comes back for ever']],
    ['htmx 4',                early => ['gives up']],
    ['htmx 4',                head  => ['gives up']],
    ['htmx 4',                end   => ['comes back for ever']],
    ['eventsource-client',    end   => ['comes back for ever']],
);

# The clients that do not ask again after a 429.
my @GIVES_UP = (
    'Chromium', 'eventsource 2', 'eventsource 5', 'event-source-polyfill',
    'Datastar', 'htmx 4',        'reqwest-eventsource'
);

# The content coding of a compressed stream, by what runs the client, or by its name.
my %CODING = (browser => 'zstd', curl => 'zstd', python => 'gzip', 'eventsource 5' => 'gzip');

# The names of the clients.
sub clients {
    return map { $_->[0] } @CLIENTS;
}

# The content coding that a client asks for; undef if it asks for none.
sub coding {
    my $client = shift;
    return $CODING{$client} // $CODING{runs($client)};
}

# The faults of a client, as a hash: for each question what the test measures, nothing if there is no fault.
sub expected {
    my $client   = shift;
    my %expected = map { ($_->[0] => []) } @QUESTIONS;
    $expected{$_->[1]} = $_->[2] for grep { $_->[0] eq $client } @FAULTS;
    $expected{refused} = [('gives up') x grep { $_ eq $client } @GIVES_UP];
    return \%expected;
}

# The clients that do not ask again after a 429.
sub gives_up { return @GIVES_UP }

# The headings of the clients with faults, as POD has them.
sub headings {
    my %is_faulty = map { ($_->[0] => 1) } @FAULTS;
    return map { s/ \z//r } map { (s/ [0-9]+\z//r) . ' ' . version($_) } grep { $is_faulty{$_} } clients();
}

# The table, as POD.
sub table {
    my $format = "    %-23s" . join('', map { '  %-' . length($_->[1]) . 's' } @QUESTIONS) . "\n";
    my $pod    = _line($format, 'client', map { $_->[1] } @QUESTIONS);
    for my $client (clients()) {
        my $expected = expected($client);
        $pod .= _line($format, $client, map { @{$expected->{$_->[0]}} ? 'no' : 'yes' } @QUESTIONS);
    }
    my ($name, %openai) = @OPENAI;
    return $pod . _line($format, $name, map { $openai{$_->[0]} } @QUESTIONS);
}

# What a client runs in: browser, curl, node, python or rust.
sub runs {
    my $client = shift;
    my ($runs) = map { $_->[2] } grep { $_->[0] eq $client } @CLIENTS;
    return $runs // croak "Expected: there is no client '$client'";
}

# The version of a client that the tests install; empty if they do not.
sub version {
    my $client = shift;
    my ($version) = map { $_->[1] } grep { $_->[0] eq $client } @CLIENTS;
    return $version;
}

sub _line {
    my ($format, @cells) = @_;
    return sprintf($format, @cells) =~ s/ +$//r;
}

1;
