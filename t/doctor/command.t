# The command line of the doctor: usage, exit codes, TLS, the report for people.

use lib 't/lib';
use Testing;
use Testing::Doctor qw(is_fine is_wrong);
use Testing::Proxy;
use Testing::Server;
use Testing::SourceTree qw(write_file);

# Arguments that are wrong, and what is said of them.
my @MISTAKES = (
    [[]                                         => qr/which URL/],
    [['ftp://127.0.0.1/']                       => qr/must begin with http/],
    [['http://127.0.0.1%00.other/']             => qr/the URL has a character in its host that no host has/],
    [['/events']                                => qr/must begin with http/],
    [['http://127.0.0.1/', 'http://127.0.0.1/'] => qr/only one URL/],
    [['--minutes', 1,              'http://127.0.0.1/'] => qr/Unknown option: minutes/],
    [['--seconds', 'long',         'http://127.0.0.1/'] => qr/--seconds must be a number/],
    [['--seconds', 0,              'http://127.0.0.1/'] => qr/--seconds must be a number/],
    [['--header',  'X',            'http://127.0.0.1/'] => qr/--header must be 'NAME: VALUE'/],
    [['--header',  "X: a\nY: b",   'http://127.0.0.1/'] => qr/--header must be 'NAME: VALUE'/],
    [['--cookie',  "a\nb",         'http://127.0.0.1/'] => qr/--cookie must be one line/],
    [['--method',  'GET /',        'http://127.0.0.1/'] => qr/--method must be a method/],
    [['--origin',  'page.example', 'http://127.0.0.1/'] => qr/--origin must be an origin/],
    [['--hub',     '../x',         'http://127.0.0.1/'] => qr/--hub must be the name/],
    [['--channel', 'news',         'http://127.0.0.1/'] => qr/--channel needs --hub/],
    [['--hub', 'a', '--workers', 'all', 'http://127.0.0.1/'] => qr/--workers must be process ids/],
    [['--table', 'orders', 'http://127.0.0.1/']              => qr/--table needs --dsn/],
    [['--dsn', 'dbi:SQLite:x', '--table', 'a b']             => qr/--table must be a name of letters/],
    [['--data', '@/does/not/exist', 'http://127.0.0.1/']     => qr/does not exist|No such file/],
);

for my $case (@MISTAKES) {
    my ($arguments, $said) = @$case;
    my $doctor = Testing::Doctor->start_plain(@$arguments);
    is $doctor->exit_code, 2, "the exit code of: @$arguments";
    like $doctor->log, qr/\Aeventsource doctor: .*$said.*; eventsource doctor --help\n\z/,
        'it says why, and what helps';
}

my $unread = Testing::Doctor->start_plain('--dsn', 'dbi:SQLite:x', '--password-from', '/does/not/exist');
is $unread->exit_code, 1, 'the exit code without the file of a password';
like $unread->log, qr/\Aeventsource doctor: .*No such file/, 'it says why';

my $help = Testing::Doctor->start_plain('--help');
is $help->exit_code, 0, 'the exit code of --help';
like $help->log, qr/^ +doctor:\n.*--seconds N/ms, '--help prints its manual';

my $closed = Testing::Daemon->new('nobody');
my $nobody = Testing::Doctor->start_plain('--seconds', 1, 'http://127.0.0.1:' . $closed->port . '/');
is $nobody->exit_code, 3, 'the exit code without a connection';
like $nobody->log, qr/There is no connection to 127\.0\.0\.1.*Remedy: /s, 'it says why, with a remedy';
my $json = Testing::Doctor->start('--seconds', 1, 'http://127.0.0.1:' . $closed->port . '/');
is $json->report->{failure}{where}, 'connect', 'the object in JSON has the failure';

Testing::Server->require_or_skip_all('Starman');
my $server = Testing::Server->start('Starman', 't/data/doctor.psgi', workers => 1);

subtest 'the report for people' => sub {
    my $fine = Testing::Doctor->start_plain('--seconds', 1, $server->url('/hub'));
    is $fine->exit_code, 0, 'exit code 0';
    like $fine->log, qr/^ok +status: The status is 200\.$/m,                                 'a check that is fine';
    like $fine->log, qr{^http://[0-9.:]+/hub: nothing is wrong, [0-9]+ checks are fine\.$}m, 'the summary';
    my $wrong = Testing::Doctor->start_plain('--seconds', 1, $server->url('/status?403'));
    is $wrong->exit_code, 1, 'exit code 1';
    like $wrong->log, qr/\AWRONG +status: The status is 403.*Remedy: .*: 1 thing is wrong, /s,
        'what is wrong comes first';
};

subtest 'a URL with a password' => sub {
    my $url = $server->url('/password') =~ s{//}{//user:very%20secret@}r;
    for my $doctor (Testing::Doctor->start('--seconds', 1, $url), Testing::Doctor->start_plain('--seconds', 1, $url)) {
        is $doctor->exit_code, 0, 'it is sent' or diag $doctor->log;
        unlike $doctor->log, qr/very/, 'and not shown';
    }
    my $wrong = Testing::Doctor->start_plain('ftp://user:secret@127.0.0.1/');
    is $wrong->exit_code, 2, 'a URL that is none';
    like $wrong->log, qr{not 'ftp://user:...\@127.0.0.1/'}, 'is shown without it';
};

subtest 'the module that perl loads for a name that two distributions have' => sub {
    my @stream = ('--seconds', 1, $server->url('/hub'));
    my $ours   = Testing::Doctor->start(@stream)->finding('modules');
    is $ours->{verdict}, 'ok', 'ours is fine';
    like $ours->{sentence}, qr{loads HTTP::ServerEvent and Plack::App::EventSource from \S+blib/lib}, 'and is named';
    my $folder = new_folder;
    mkdir "$folder/HTTP" or die "HTTP: $!";
    write_file("$folder/HTTP/ServerEvent.pm", "package HTTP::ServerEvent; 1;\n");
    my $first = Testing::Doctor->start({PERL5LIB => "$folder:$ENV{PERL5LIB}"}, @stream);
    is_wrong $first, 'modules', 'warning',
        qr{loads HTTP::ServerEvent from \Q$folder\E/HTTP/},
        'the original comes first';
    my $last = Testing::Doctor->start({PERL5LIB => "$ENV{PERL5LIB}:$folder"}, @stream);
    is $last->finding('modules')->{verdict}, 'ok', 'the original comes last';
};

subtest 'the measurements' => sub {
    my $report = Testing::Doctor->start('--seconds', 2, $server->url('/hub'))->report;
    my $of     = $report->{measurements};
    ok $of->{$_} >= 0, "$_ is measured" for qw(connected_at head_at body_at retry);
    ok $of->{connected_at} <= $of->{head_at} && $of->{head_at} <= $of->{body_at}, 'in this order';
    is $of->{status},    200, 'the status';
    is $report->{wrong}, 0,   'nothing is wrong';
    ok @{$of->{keepalives_at}}, 'the times of keepalives';
};

subtest 'TLS' => sub {
    plan skip_all => Testing::Server->missing_tls     if Testing::Server->missing_tls;
    plan skip_all => Testing::Proxy->missing('nginx') if Testing::Proxy->missing('nginx');
    my $proxy  = Testing::Proxy->start('nginx', $server);
    my $url    = 'https://127.0.0.1:' . $proxy->port . '/hub';
    my $refuse = Testing::Doctor->start_plain('--seconds', 1, $url);
    is $refuse->exit_code, 3, 'a certificate that is not valid';
    like $refuse->log, qr/certificate.*Remedy: .*--insecure/s, 'it says so';
    my $takes = Testing::Doctor->start('--seconds', 1, '--insecure', $url);
    is_fine($takes, 'with --insecure');
    like $takes->finding('http2')->{sentence}, qr/The server offers HTTP\/2/, 'HTTP/2 by ALPN';
    my $plain = Testing::Doctor->start_plain('--seconds', 1, 'https://127.0.0.1:' . $server->port . '/hub');
    is $plain->exit_code, 3, 'a port without TLS';
    like $plain->log, qr/TLS has failed.*without TLS write http/s, 'it says so';
};

done_testing;
