# The SYNOPSIS of each public module, and of each page whose example is Perl, runs as a program. So do the sections with which
# EventSource::Hub begins, after its SYNOPSIS.

use lib 't/lib';
use Testing;
use EventSource::Hub::Process;
use File::Find            qw(find);
use HTTP::Request::Common qw(GET);
use Plack::Test;
use SelectSaver ();
use Test::EventSource;
use Testing::Developer     qw(has_module);
use Testing::HostileServer qw(hostile_server);
use Testing::SourceTree    qw(slurp);

# The framework of a module; none is required by the distribution.
sub framework { return $_[0] =~ m{\Aperl/EventSource/Framework/(\w+)} ? $1 : undef }

# The blocks of indented lines under a heading.
sub blocks {
    my ($file, $heading) = @_;
    my ($section) = slurp($file, ':encoding(UTF-8)') =~ /^=head1 $heading$(.*?)^=head1/ms or return;
    return map { s/^ {4}//gmr } $section =~ /^( {4}.*\n(?:\n* {4}.*\n)*)/mg;
}

sub synopsis { return join '', blocks(shift, 'SYNOPSIS') }

# Runs a file's example in a package of its own. Returns its value and what it has printed. A test runs as a subtest.
my $number = 0;

sub run {
    my ($code, $file) = @_;
    my $name    = "the SYNOPSIS of $file";
    my $package = 'Example' . ++$number;
    my $printed = '';
    my ($value, $exception);
    my $selected = SelectSaver->new;    # a new socket selects, for good, the handle that is STDOUT below
    my $run      = sub {
        open my $out, '>', \$printed or die $!;
        local *STDOUT = $out;
        my $all = "package $package; use strict; use warnings;\n#line 1 \"$file\"\n$code";
        $value     = eval $all;         ## no critic (ProhibitStringyEval)
        $exception = $@;
    };
    if ($code =~ /^done_testing;$/m) { subtest $name => $run }
    else                             { $run->() }
    is $exception, '', "$name runs";
    return ($value, $printed);
}

# The server of the client's example: one event, then the end.
my $server = hostile_server sub {
    my ($client, $head, $number) = @_;
    print {$client} $number == 1
        ? "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nretry: 1\nevent: add\ndata: hello\n\n"
        : "HTTP/1.1 204 No Content\r\n\r\n";
};

$ENV{METRICS_TOKEN} = 'the-token-of-this-test';

# The named hubs that the examples use are those of this test.
my $has_program = eval { Test::EventSource->private_hub; 1 };

# The examples of commands find an event there.
EventSource::Hub::Process->connect(name => 'shop', autostart => 1)->publish(news => 'an event') if $has_program;

my @modules;
find(
    {
        no_chdir => 1,
        wanted => sub { push @modules, $_ if /\.pm\z/ && !m{/EventSource/XS/} || /\.pod\z/ && synopsis($_) =~ /\Ause / }
    },
    'perl'
);
for my $file (sort @modules) {
    my $code = synopsis($file);
    ok $code, "$file has a SYNOPSIS" or next;
    next if !$has_program && $file =~ m{/Hub/(?:Lease|Process)\b|\.pod\z};
    my $framework = framework($file);
    if (defined $framework && !has_module($framework)) {
    SKIP: {
            skip "there is no $framework here", 1 if !$ENV{EVENTSOURCE_XS_FULL};
            fail "there is no $framework here";
        }
        next;
    }
    local $ENV{PLACK_ENV} = 'test';    # an application of Mojolicious starts as a PSGI application
    $code =~ s{http://127[.]0[.]0[.]1:8000/}{$server->url('/')}e if $file eq 'perl/EventSource/Client.pm';
    my ($value, $printed) = run($code, $file);
    is $printed, "add: hello\n",   "the client's example prints the event" if $file eq 'perl/EventSource/Client.pm';
    is $printed, "add 1: hello\n", "the parser's example prints what its comment says" if $file =~ /Parser\.pm/;
    next if ref $value ne 'CODE';

    if ($file eq 'perl/EventSource/Hub.pm') {    # Its streams do not end, so /hello is requested.
        test_psgi $value, sub {
            like shift->(GET '/hello')->content, qr/\Apublished as \w+-1\n\z/,
                'the application in Hub.pm publishes an event';
        };
        next;
    }
    if ($file eq 'perl/Plack/Middleware/EventSource.pm') {
        test_psgi $value, sub {
            is shift->(GET '/')->content, 'hello', 'the middleware passes the response on';
        };
        next;
    }
    my $path = $file eq 'perl/Plack/App/EventSource.pm' ? '/events' : '/';
    test_psgi $value, sub {
        my $response = shift->(GET $path);
        is $response->content_type, 'text/event-stream', "the application in $file streams events";
        like $response->content, qr/\n\r?\n\z/, "the response of $file ends after a complete event";
    };
}

subtest 'the sections of EventSource::Hub are one program, and its streams carry what they say' => sub {
    my @perl   = (synopsis('perl/EventSource/Hub.pm'), blocks('perl/EventSource/Hub.pm', 'DESCRIPTION'));
    my ($made) = run(join("\n", @perl, '+{hub => $hub, app => $app, stock => $stock};'), 'the sections');
    my $es     = Test::EventSource->new(
        app => sub {
            my $env = shift;
            return +($made->{substr $env->{PATH_INFO}, 1} || $made->{app})->({%{$env}, REMOTE_USER => 7});
        }
    );
    my $epoch = $made->{hub}->epoch;
    my ($id) = Plack::Test->create($made->{app})->request(GET '/hello')->content =~ /(\Q$epoch\E-\d+)/
        or fail 'the application says the id';
    $es->get('/events', last_event_id => "$epoch-0")
        ->like_event({event => 'greeting', data => 'hello', id => $id}, 'a client resumes');
    $es->get('/stock', state => {key => sub { 'item/7' }})
        ->state_is({'item/7' => {json => {left => 3}}}, 'a stream begins with the state');
};

subtest 'the stream of EventSource::Presence says who is here' => sub {
    plan skip_all => 'there is no eventsource-hub here' if !$has_program;
    my ($room) = run(synopsis('perl/EventSource/Presence.pod') . '$app;', 'EventSource::Presence');
    Test::EventSource->new(app => sub { $room->({%{+shift}, REMOTE_USER => 7}) })->get('/', members => 1)
        ->members_are({7 => {name => 'User 7'}}, 'a client learns who is here');
};

done_testing;
