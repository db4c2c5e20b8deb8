# EventSource::XS->client_address: an IPv4 client has one address, whatever the server listens on; and the lines of the manuals
# for limits and proxies, with both.

use lib 't/lib';
use Testing;
use EventSource::XS;
use Plack::Builder;
use Testing::Developer qw(needs_module);
use Testing::Server;
use Testing::SourceTree qw(slurp);

for my $case (
    ['192.0.2.7',         '192.0.2.7',      '192.0.2.7'],
    ['::ffff:192.0.2.7',  '192.0.2.7',      '192.0.2.7'],
    ['::FFFF:c000:0207',  '192.0.2.7',      '192.0.2.7'],
    ['2001:DB8:1:2:3::9', '2001:db8:1:2::', '2001:db8:1:2:3::9'],
    ['2001:db8:1:2:4::a', '2001:db8:1:2::', '2001:db8:1:2:4::a'],
    ['fe80::1%eth0',      'fe80::',         'fe80::1'],
    ['::1',               '::',             '::1'],
    ['::fffe:192.0.2.7',  '::',             '::fffe:c000:207'],
    ['unknown',           'unknown',        'unknown'],
    ['192.0.2.7%eth0',    '192.0.2.7%eth0', '192.0.2.7%eth0'],

    # Azure's gateway adds the port.
    ['192.0.2.7:51234',        '192.0.2.7',   '192.0.2.7'],
    ['[2001:db8::7]:443',      '2001:db8::',  '2001:db8::7'],
    ['[2001:db8::7]',          '2001:db8::',  '2001:db8::7'],
    ['[::ffff:192.0.2.7]:443', '192.0.2.7',   '192.0.2.7'],
    ['[fe80::1%eth0]:443',     'fe80::',      'fe80::1'],
    ['example:443',            'example:443', 'example:443'],
    ['192.0.2.7:51234 192.0.2.8:1', ('192.0.2.7:51234 192.0.2.8:1') x 2],

    # A Unix socket: Feersum, Twiggy, uWSGI.
    ['unix',                undef, undef],
    ['unix/',               undef, undef],
    ['unix:',               undef, undef],
    ['0.0.0.0',             undef, undef],
    ['::',                  undef, undef],
    ['unix:/run/shop.sock', undef, undef],
    ['0.0.0.0:0',           undef, undef],
    ['[::]:0',              undef, undef],
    ['::ffff:0.0.0.0',      undef, undef],
    ['',                    undef, undef],
    [undef,                 undef, undef],
) {
    my ($given, $network, $address) = @$case;
    my $shown = $given // 'none';
    is(EventSource::XS->client_address({REMOTE_ADDR => $given}),     $address, "the address of $shown");
    is(EventSource::XS->client_address({REMOTE_ADDR => $given}, 64), $network, "its first 64 bits, if it is IPv6");
}

for my $bits (-1, 129, 1.5, 'many', '') {
    my $error = do {
        local $@;
        eval { EventSource::XS->client_address({REMOTE_ADDR => '::1'}, $bits) };
        $@;
    };
    is_deeply [eval { $error->code }, eval { $error->field }], ['invalid', 'bits'], "'$bits' bits are refused";
    like $error, qr/client_address\.t line/, 'at the line of the caller';
}

for my $name (grep { !Testing::Server->missing($_) } qw(Starman Twiggy Feersum uWSGI)) {
    my $server = Testing::Server->start($name, 't/data/client_address.psgi', unix => 1);
    is $server->ask('/'), 'none', "$name: on a Unix socket a client has no address";
}

my $deployment = slurp('perl/EventSource/Deployment.pod');

subtest 'behind a proxy' => sub {
    needs_module('Plack::Middleware::ReverseProxy');
    my ($line)  = $deployment =~ /^ {4}(enable_if .*)$/m;
    my $builder = "builder { $line sub { return [200, [], [\$_[0]{REMOTE_ADDR}]] } }";
    my $app     = eval $builder or die $@;                                               ## no critic (StringyEval)
    for my $case (
        ['127.0.0.1',        '192.0.2.7'],
        ['::ffff:127.0.0.1', '192.0.2.7'],
        ['198.51.100.1',     '198.51.100.1'],
        [undef,              undef],
    ) {
        my ($proxy, $client) = @$case;
        my %env = (
            REQUEST_METHOD       => 'GET',
            'psgi.url_scheme'    => 'http',
            REMOTE_ADDR          => $proxy,
            HTTP_X_FORWARDED_FOR => '192.0.2.7'
        );
        is $app->(\%env)->[2][0], $client, 'the client of ' . ($proxy // 'a Unix socket');
    }
};

subtest 'limits' => sub {
    for my $manual ($deployment, slurp('perl/EventSource/Hub.pm')) {
        my ($line) = $manual =~ /^ {4}(max_streams_per => .*)$/m;
        my (undef, $limit) = eval $line or die $@;    ## no critic (StringyEval)
        my %keys = map { ($limit->[0]->({REMOTE_ADDR => $_}) => 1) } '192.0.2.7', '::ffff:192.0.2.7',
            '::ffff:192.0.2.8', '2001:db8::1', '2001:db8::2', '2001:db8:0:1::1';
        is_deeply [sort keys %keys], ['192.0.2.7', '192.0.2.8', '2001:db8:0:1::', '2001:db8::'],
            'a key for an IPv4 address, and for four groups of IPv6';
    }
};

done_testing;
