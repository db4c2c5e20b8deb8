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
    for (
        ["dbname=postgresql://bob:s3'c\"r\@db/shop", 'dbname=postgresql://bob:...@db/shop'],
        ['service=shop;sslpassword=secret',          'service=shop;sslpassword=...'],
        ['dbname=shop;password=',                    'dbname=shop;password='],
    ) {
        my ($dsn, $shown) = @$_;
        my $answer =
            get($outbox->metrics_app(@HERE, connect => sub { die "DBI connect('$dsn','bob',...) failed: no\n" }));
        like $answer->[2][0], qr/connect\('\Q$shown\E','bob',...\) failed: no/, "the DSN is $shown then";
    }
    is get($outbox->metrics_app(@HERE, connect => sub { undef }))->[0], 503, 'so is a connect that returns nothing';
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
