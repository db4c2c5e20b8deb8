# The counts of an outbox as OpenMetrics, by the command and by an application: what they are, and who may read them.

use lib 't/lib';
use Testing qw(Database::SQLite);
use EventSource::Hub;
use EventSource::Outbox;
use Testing::CommandLine;
use Testing::Errors     qw(error_ok);
use Testing::SourceTree qw(slurp);

my $database = Testing::Database::SQLite->start;
my $shell    = Testing::CommandLine->new;
my $process  = $shell->connect('shop');
my $outbox =
    EventSource::Outbox->new(hub => EventSource::Hub->new(name => 'shop', socket => $shell->folder . '/shop.sock'));
my $dbh = $database->connect;
$dbh->do($_) for grep { /\S/ } split /;\n(?=\n|\z)/, $outbox->schema('sqlite');

my @HERE = (allow => ['127.0.0.1'], token => 'the-token-of-this-test');
my $app  = $outbox->metrics_app(@HERE, connect => sub { $database->connect });

sub get {
    my ($app, %env) = @_;
    my %request = (REQUEST_METHOD => 'GET', PATH_INFO => '/', HTTP_AUTHORIZATION => 'Bearer the-token-of-this-test');
    return $app->({%request, REMOTE_ADDR => '127.0.0.1', %env});
}

# Returns a hash of the samples, whose labels are all the same.
sub samples_of {
    my $text    = shift;
    my %samples = $text =~ /^eventsource_outbox_([a-z_]+)\{hub="shop",table="eventsource_outbox"\} (\S+)$/mg;
    return \%samples;
}

sub samples { return samples_of(get($app)->[2][0]) }

subtest 'an empty table' => sub {
    my $response = get($app);
    my %header   = @{$response->[1]};
    is $response->[0],          200,                                                          'the status';
    is $header{'Content-Type'}, 'application/openmetrics-text; version=1.0.0; charset=utf-8', 'the media type';
    my $text = $response->[2][0];
    is_deeply samples_of($text), {waiting => 0, oldest_age_seconds => 0, dead_letters => 0, followed => 0},
        'the samples';
    like $text, qr/^# TYPE $_ gauge\n(?:# UNIT $_ seconds\n)?# HELP $_ \S.*[.]\n$_\{/m, "the type and a text of $_"
        for map { "eventsource_outbox_$_" } sort keys %{samples_of($text)};
    my ($section)  = slurp('perl/EventSource/Monitoring.pod') =~ /^=head2 Metrics of an outbox\n(.*?)^=head/ms;
    my %documented = $section                                 =~ /^    eventsource_outbox_(\w+) +(\S.*)$/mg;
    my %help       = $text                                    =~ /^# HELP eventsource_outbox_(\w+) (.*)[.]$/mg;
    is_deeply \%documented, \%help, 'the manual has the same';
    like $text, qr/^# UNIT eventsource_outbox_oldest_age_seconds seconds$/m, 'the unit';
    like $text, qr/\n# EOF\n\z/,                                             'the end';
    my $printed = $shell->run('outbox', '--hub', 'shop', '--dsn', $database->dsn, qw(--stats --openmetrics));
    is $printed->{out}, $text, 'the command prints the same' or diag $printed->{err};
};

subtest 'rows' => sub {
    $outbox->publish($dbh, news => $_) for 1 .. 3;
    my $samples = samples();
    is $samples->{waiting}, 3, 'rows wait';
    ok wait_until($DEADLINE, sub { samples()->{oldest_age_seconds} > $samples->{oldest_age_seconds} }),
        'the age increases';
    $dbh->do(q{INSERT INTO eventsource_outbox (channel, data, event_id) VALUES ('news', 'x', 'ends in a blank ')});
    my $follower = $shell->start('outbox', '--hub', 'shop', '--dsn', $database->dsn);
    ok wait_until($DEADLINE, sub { samples()->{dead_letters} }), 'a row becomes a dead letter' or diag $follower->log;
    is_deeply samples(), {waiting => 0, oldest_age_seconds => 0, dead_letters => 1, followed => 1},
        'the others are published';
    $follower->stop;
    is samples()->{followed}, 0, 'the follower has ended';
};

subtest 'who may read' => sub {
    is get($app, REMOTE_ADDR        => '192.0.2.7')->[0],    403, 'no other machine';
    is get($app, HTTP_HOST          => 'evil.example')->[0], 403, 'no other name';
    is get($app, REQUEST_METHOD     => 'POST')->[0],         405, 'no POST';
    is get($app, HTTP_AUTHORIZATION => undef)->[0],          401, 'nobody without the token';
    my $open = $outbox->metrics_app(
        @HERE,
        connect => sub { $database->connect },
        allow   => ['192.0.2.0/24'],
        hosts   => ['shop.example']
    );
    is get($open, REMOTE_ADDR => '192.0.2.7', HTTP_HOST => 'shop.example')->[0], 200, 'unless they are named';
};

subtest 'a database that is away' => sub {
    my $away     = $outbox->metrics_app(@HERE, connect => sub { die "the disk is full\n" });
    my $response = get($away);
    is $response->[0], 503, 'is a 503';
    like $response->[2][0], qr/the database answers nothing: the disk is full/, 'with the reason';
    my $refused =
        "DBI connect('dbname=shop;password=very secret;host=db','shop',...) failed: zur\xC3\xBCckgewiesen at x line 1.\n";
    like get($outbox->metrics_app(@HERE, connect => sub { die $refused }))->[2][0],
        qr/: DBI connect\('dbname=shop;password=...;host=db','shop',...\) failed: zur\xC3\xBCckgewiesen$/,
        'without a password, and encoded once';
    is get($outbox->metrics_app(@HERE, connect => sub { undef }))->[0], 503, 'so is a connect that returns nothing';
};

# The reason of a 503, for code that connects.
sub reason_of {
    my $text = get($outbox->metrics_app(@HERE, connect => shift))->[2][0];
    return $text =~ s/\A.*answers nothing: |\s+\z//gr;
}

# The DSN of a message of DBI, what the driver says of it, and both as they are shown.
my @SHOWN = (
    ['dbname=shop;password=',                       'no',        'dbname=shop;password='],
    ['service=shop;sslpassword=HUSH',               'no',        'service=shop;sslpassword=...'],
    ['dbname=shop;port=1;oauth_client_secret=HUSH', 'no',        'dbname=shop;port=1;oauth_client_secret=...'],
    ['shop:127.0.0.1:1;mysql_password=HUSH',        'no',        'shop:127.0.0.1:1;mysql_password=...'],
    [q(dbname=shop;password='HU ;SH';port=1),       'no',        'dbname=shop;password=...;port=1'],
    [q(dbname=shop;password='HU\\';SH';port=1),     'no',        'dbname=shop;password=...;port=1'],
    [q(dbname=shop;password='HU;host=SH),           'no',        'dbname=shop;password=...'],
    [q(dbname=shop;password=HU','SH;port=1),        'no',        'dbname=shop;password=...;port=1'],
    ["dbname=shop;password=HUM\nSHH", 'missing "=" after "SHH"', 'dbname=shop;password=...', 'missing "=" after "..."'],
    ['dbname=shop;pass word=HUSH',    'no',                      'dbname=shop;...'],
    ['dbname=shop;passwort=HUSH',     'no HUSH.',                'dbname=shop;passwort=...', 'no ....'],
    ['dbname=shop password=HUSH',               'no',            'dbname=...'],
    [q(dbname='host=db password=HUSH'),         'no',            'dbname=...'],
    ['database=shop:password=HUSH:host=db',     'no',            'database=...'],
    ['uri=file:/srv/shop?key=HUSH',             'no',            'uri=file:/srv/shop?...'],
    [q(dbname=postgresql://bob:h'u"sh@db/shop), 'no',            'dbname=postgresql://...@db/shop'],
    [
        'dbname=postgresql://bob:HUM/SH@[::1]:1/shop', 'no port "HUM"',
        'dbname=postgresql://...@[::1]:1/shop',        'no port "..."'
    ],
    ['dbname=postgresql://bob:HU SH@db/shop',  'after "SH@db/shop"', 'dbname=postgresql://...@db/shop', 'after "..."'],
    ['dbname=postgresql://bob:H%55SH@db/shop', 'not HUSH: db',       'dbname=postgresql://...@db/shop', 'not ...: db'],
    ['dbname=postgresql://bob:HU@SH?@db/shop',      'no',         'dbname=postgresql://...@db/shop'],
    ['dbname=postgresql://db/shop?pass%77ord=HUSH', 'no',         'dbname=postgresql://db/shop?...'],
    ['dbname=postgresql://bob:HUSH',                'no',         'dbname=...'],
    ['user=bob;password=#HU,SH!;host=db', 'not bob/#HU,SH!@db:1', 'user=bob;password=...;host=db', 'not bob/...@db:1'],
);

for (@SHOWN) {
    my ($dsn, $said, $shown, $said_shown) = @$_;
    my $refused = sub { die "DBI connect('$dsn','bob',...) failed: $said\n" };
    my $wanted  = "DBI connect('$shown','bob',...) failed: " . ($said_shown // $said);
    is reason_of($refused), $wanted, "the DSN of a failed connect is $shown";
}

subtest 'passwords that no DSN of DBI has' => sub {
    for (
        [
            "can't connect to data source 'Pg:password=HUSH' because I can't work out what driver to use",
            "can't connect to data source '...' because I can't work out what driver to use"
        ],
        ['no redis://bob:HU/SH@db/1',      'no redis://bob:...@db/1'],
        ['no mysql_password=HUSH; port=1', 'no mysql_password=...; port=1'],
    ) {
        my ($said, $shown) = @$_;
        is reason_of(sub { die "$said\n" }), $shown, $shown;
    }
};

subtest 'mistakes' => sub {
    my @connect = (@HERE, connect => sub { $database->connect });
    for my $case (
        [connect  => qr/connect must be code that returns/, ()],
        [connect  => qr/connect must be a code reference/, connect => 'dbi:Pg:'],
        [allow    => qr/allow must be an array/,           @connect, allow    => 'all'],
        [allow    => qr/metrics_app needs allow/,          @connect, allow    => undef],
        [token    => qr/metrics_app needs allow/,          @connect, token    => undef],
        [hosts    => qr/hosts must be an array/,           @connect, hosts    => 'here'],
        [channels => qr/unknown option 'channels'/,        @connect, channels => ['news']],
    ) {
        my ($field, $said, @options) = @$case;
        my $call = sub { $outbox->metrics_app(@options) };
        error_ok($field, invalid => $field, $call);
        eval { $call->() };
        like $@, qr/\AEventSource::Outbox: $said.* at \Q$0\E line /, "$field: the line of the caller";
    }
    my $both = $shell->run('outbox', '--hub', 'shop', '--dsn', $database->dsn, qw(--stats --json --openmetrics));
    like $both->{err}, qr/--json and --openmetrics exclude each other/, 'one form only';
    my $none = $shell->run('outbox', '--hub', 'shop', '--dsn', $database->dsn, '--openmetrics');
    like $none->{err}, qr/--openmetrics is for --stats/, 'only of the counts';
};

done_testing;
