package Testing::Server;
use Testing;

# A real PSGI server, started for a test on a free port of 127.0.0.1, on a Unix socket, or under TLS. It ends with the
# object.
#
#   my $server = Testing::Server->start('Starman', 't/data/contract.psgi', workers => 3);
#   get($server->url('/one'));

use parent 'Testing::Daemon';
use Carp     qw(croak);
use Config   qw(%Config);
use Exporter qw(import);
use Testing::Apache;
use Testing::Certificates;
use Testing::Client;
use Testing::ControlledProcess qw(output_of);
use Testing::Developer         qw(has_command has_module needs);
use Testing::Journal;
use Testing::ReadableCopy qw(copy_for_all);
use Testing::SourceTree   qw(write_file);
use File::Basename        qw(basename);
use File::Spec            ();
use File::Temp            ();
use JSON::PP              ();

our @EXPORT_OK = qw(path subtest_once);

# How each server is started: the modules that it needs, and its command line for an application, a number of
# processes, and a certificate for TLS; and the option that has it replace processes after some requests.
my %SERVER = (
    'HTTP::Server::PSGI' => {
        needs   => ['HTTP::Server::PSGI'],
        command => sub { _plackup(@_[0, 1], _tls($_[3], qw(--ssl-cert-file --ssl-key-file))) },
    },
    'Starman' => {
        needs   => ['Starman'],
        command => sub { _plackup(@_[0, 1], '--workers', $_[2] || 3, _tls($_[3], qw(--ssl-cert --ssl-key))) },
        recycle => '--max-requests',
    },
    'Starman, without preloading' => {
        needs   => ['Starman'],
        command => sub { ($^X, '-S', 'starman', '--listen', $_[0]->_listens, '--workers', $_[2] || 3, $_[1]) },
        recycle => '--max-requests',
    },
    'Starlet' => {
        needs   => ['Starlet'],
        command => sub { _plackup(@_[0, 1], '--max-workers', $_[2] || 3) },
        recycle => '--max-reqs-per-child',
    },
    (
        map {
            (
                $_ => {
                    needs   => ["Plack::Handler::$_"],
                    command => sub { _plackup(@_[0, 1], '--max-workers', $_[2] || 3) }
                }
            )
        } qw(Gazelle Monoceros)
    ),
    'Twiggy'  => {needs => ['Twiggy'], command => sub { _plackup(@_[0, 1]) }},
    'Feersum' => {
        needs   => ['Feersum'],
        command => sub {
            _plackup(
                @_[0, 1],
                ($_[2] || 1) > 1 ? ('--pre-fork', $_[2]) : (),
                _tls($_[3], qw(--tls-cert-file --tls-key-file))
            );
        },
    },
    'HTTP::Server::Simple::PSGI' => {
        needs   => [qw(HTTP::Server::Simple::PSGI Plack::Handler::HTTP::Server::Simple)],
        command => sub { _plackup(@_[0, 1], -s => 'HTTP::Server::Simple') },
    },
    'uWSGI' => {command => sub { _uwsgi(@_[0 .. 2], $_[3] ? '--https-socket' : '--http-socket', @{$_[3] || []}) }},
    'uWSGI, with keep-alive' => {command => sub { _uwsgi(@_[0 .. 2], '--http11-socket') }},
    'uWSGI, behind a proxy'  => {command => sub { _uwsgi(@_[0 .. 2], '--socket') }},          # speaks its own protocol
    'FCGI' => {needs => [qw(FCGI FCGI::ProcManager)], command => sub { _plackup(@_[0, 1], '--nproc', $_[2] || 3) }},
    'FCGI::EV'               => {needs   => [qw(FCGI::EV AnyEvent)],       command => sub { _loop_fcgi(@_[0, 1]) }},
    'AnyEvent::FCGI'         => {needs   => [qw(AnyEvent::FCGI AnyEvent)], command => sub { _loop_fcgi(@_[0, 1]) }},
    'mod_perl'               => {command => sub { _apache(@_[0 .. 2], 'prefork') }},
    'mod_perl, with threads' => {command => sub { _apache(@_[0 .. 2], 'worker') }},
);

# On which streams can be native; those of a test of t.
my @NATIVE = ('HTTP::Server::PSGI', qw(Starman Starlet Twiggy Feersum uWSGI));
my @FEW    = qw(Starman Twiggy);

# Returns a path with a query. Its brackets are for curl.
sub path {
    my ($path, %query) = @_;
    return $path if !%query;
    return "$path?" . join '&',
        map { "$_=" . ($query{$_} =~ s/([^\w.*,\[\]-])/sprintf '%%%02X', ord $1/ger) } sort keys %query;
}

# A subtest with servers of its own, which xt does not run again on the others.
sub subtest_once {
    my ($title, $code) = @_;
    return __PACKAGE__->tested(@FEW) && Test::More::subtest($title => $code);
}

# Waits until the answer to a request is this text, and makes a test of it.
sub answers_ok {
    my ($self, $path, $text, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $answer;
    wait_until(sub { ($answer = $self->ask($path)) eq $text });
    return Test::More::is($answer, $text, $what);
}

# Sends a request on a connection of its own. Returns the body of the response, whose status has to be 200.
sub ask {
    my ($self, $path, %query) = @_;
    my $client = Testing::Client->ask($self->at, path($path, %query), $self->_client_tls);
    $client->complete or croak "Server: $path was not answered";
    croak "Server: $path: " . $client->status . ' ' . $client->body if $client->status != 200;
    $client->leave;
    return $client->body;
}

# The file with the authority's certificate of a server under TLS.
sub certificate { return $_[0]{authority} }

# Sends a request. Returns its client. With a journal, the handler reports under the tag of the request: a given one, or one of
# its own.
sub get {
    my ($self, $path, %option) = @_;
    my $tag = $self->{journal} ? delete $option{tag} // 'tag' . ++$self->{tags} : undef;
    $path .= ($path =~ /[?]/ ? '&' : '?') . "tag=$tag" if defined $tag;
    my $client = Testing::Client->get($self->at, $path, $self->_client_tls, %option);
    $client->{tag} = $tag;
    return $client;
}

# True if Feersum is 1.507 or newer: it can encrypt.
sub has_new_feersum {
    my ($status) = output_of($^X, '-MFeersum', '-e', 'exit !Feersum->can("set_tls")');
    return !$status;
}

# Returns what was reported so far under a tag, or that of a client.
sub journal { return $_[0]{journal}->reports(ref $_[1] ? $_[1]{tag} : $_[1]) }

# Waits until that matches, and makes a test of it.
sub journal_ok {
    my ($self, $tag, @rest) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return $self->{journal}->report_ok(ref $tag ? $tag->{tag} : $tag, @rest);
}

# Why a server cannot run here; undef if it can.
sub missing {
    my ($class, $name) = @_;
    my $how = $SERVER{$name} or croak "Server: there is no server '$name'";
    $how->{missing} =
          $name =~ /\AuWSGI/    ? _missing_uwsgi()
        : $name =~ /\Amod_perl/ ? Testing::Apache::missing('perl')
        : _missing_module(@{$how->{needs}})
        if !exists $how->{missing};
    return $how->{missing};
}

# Why servers and clients cannot have TLS here; undef if they can.
sub missing_tls {
    return 'there is no openssl here'         if !has_command('openssl');
    return 'there is no IO::Socket::SSL here' if !has_module('IO::Socket::SSL');
    return;
}

# The servers of a test, of those on which streams can be native.
sub names { return $_[0]->tested(@NATIVE) }

# All of those.
sub native { return @NATIVE }

# Those that the tests of t leave out, and servers on which no stream is native.
sub others {
    my %is_one = map { ($_ => 1) } @FEW;
    return grep { !$is_one{$_} && !/,/ } sort keys %SERVER;
}

# Skips the test file if the server is missing; fails it with EVENTSOURCE_XS_FULL, where nothing may be missing.
sub require_or_skip_all {
    my ($class, $name) = @_;
    return needs($class->missing($name));
}

# Options: workers, the number of processes; env, a hash; args, further arguments for the server; unix => 1 for a Unix
# socket instead of a port; tls => 1; descriptors, the limit of each process; recycles => 1, it replaces a process after
# as many requests as is its default. Otherwise a process is not replaced. journal => 1, it has a Testing::Journal at
# $ENV{TESTING_JOURNAL}.
# Skips the test, as require_or_skip_all does, if the server or its TLS is missing: it is for the begin of a test.
sub start {
    my ($class, $name, $psgi, %option) = @_;
    needs($class->missing($name));
    needs($class->missing_tls) if $option{tls};
    croak "Server: $psgi: $!"  if !-r $psgi;
    my $self = $class->new($name, unix => $option{unix});
    $self->{certificate} = $self->_certificate if $option{tls};
    my %env = %{$option{env} || {}};
    $env{TESTING_JOURNAL} = ($self->{journal} = Testing::Journal->new)->path if $option{journal};
    my @command =
        $SERVER{$name}{command}->($self, File::Spec->rel2abs($psgi), $option{workers}, $self->{certificate});
    my $recycle = $SERVER{$name}{recycle};
    push @command, $recycle, 1_000_000_000 if $recycle && !$option{recycles};
    unshift @command, qw(sh -c), 'ulimit -n "$0" && exec "$@"', $option{descriptors} if $option{descriptors};
    return $self->run(\%env, @command, @{$option{args} || []});
}

# Returns the statistics that an application gives as JSON.
sub stats { my ($self, %query) = @_; return JSON::PP::decode_json($self->ask('/stats', %query)) }

# Opens streams of a hub until so many workers have one; the responses say whose they are. Returns the streams by worker.
sub streams_by_worker {
    my ($self, $path, $workers) = @_;
    my %streams;
    wait_until $DEADLINE, sub {
        my $client = Testing::Client->stream($self->port, $path);
        push @{$streams{$client->header('X-Worker')}}, $client;
        return keys %streams >= $workers;
    };
    return \%streams;
}

# Those of these servers, maybe with words behind a comma, that a test uses: of t, one that blocks and one with an event loop.
# xt runs it again on the others (Testing::Others). EVENTSOURCE_XS_SERVERS names those of one run, with commas between.
sub tested {
    my ($class, @names) = @_;
    my %is_asked = map { ($_ => 1) } split /,/, $ENV{EVENTSOURCE_XS_SERVERS} || join ',', @FEW;
    return grep { $is_asked{s/,.*//sr} } @names;
}

sub url { return "http://127.0.0.1:$_[0]{port}" . ($_[1] // '/') }

# Apache's children become another user's, who may not be able to read a checkout: they load modules from a copy.
sub _apache {
    my ($self, $psgi, $workers, $mpm) = @_;
    my $file  = $self->folder . '/apache2.conf';
    my $count = $workers || 3;
    my @many =
        $mpm eq 'prefork'
        ? ("ServerLimit $count", "StartServers $count")
        : (
        'ServerLimit 1',
        "ThreadsPerChild $count",
        "MaxRequestWorkers $count",
        'PerlInterpStart 1',
        "PerlInterpMax $count"
        );
    copy_for_all($_, $self->folder . '/' . basename($_)) for qw(blib t/lib);
    my $libs = join ':', map { $self->folder . "/$_" } qw(blib/lib blib/arch lib);
    my $text = Testing::Apache::frame(
        $self->folder,
        $self->port,
        ["mpm_$mpm", qw(authz_core perl)],
        @many,
        '<Perl>',
        "require Plack::Handler::Apache2; Plack::Handler::Apache2->preload('$psgi');",
        '</Perl>',
        '<Location />',
        'SetHandler perl-script',
        'PerlResponseHandler Plack::Handler::Apache2',
        "PerlSetVar psgi_app $psgi",
        '</Location>'
    );
    write_file($file, $text);
    return ('env', "PERL5LIB=$libs", qw(apache2 -D FOREGROUND -f), $file);
}

# The files of a certificate for 127.0.0.1 and of its key.
sub _certificate {
    my $self = shift;
    my $made = Testing::Certificates->new($self->folder);
    $self->{authority} = $made->ca;
    return [$made->sign('server', 'IP:127.0.0.1')];
}

# What a client needs for the server's TLS.
sub _client_tls { my $self = shift; return $self->certificate ? (certificate => $self->certificate) : () }

# The address to listen on, as servers take it.
sub _listens { return defined $_[0]{path} ? $_[0]{path} : "127.0.0.1:$_[0]{port}" }

sub _loop_fcgi {
    my ($self, $psgi) = @_;
    return ($^X, '-MTesting::LoopFCGI', '-e', 'Testing::LoopFCGI->run(@ARGV)', $self->{name}, $psgi, $self->_listens);
}

sub _missing_module {
    my @modules = @_;

    # perl loads the modules of PERL5OPT after those of -M, and xt/install hides modules by PERL5OPT.
    my ($status, $trouble) = output_of($^X, '-e', join '', map { "use $_;" } @modules);
    return $status ? "@modules cannot be loaded: " . ($trouble =~ s/\n.*//sr) : undef;
}

# uWSGI embeds a perl. It must be the one that the library was built for.
sub _missing_uwsgi {
    my $probe = File::Temp->new(SUFFIX => '.psgi');
    print {$probe} 'use Config; print STDERR "perl: $Config{version} $Config{archname}\n"; sub { [200, [], []] }';
    CORE::close $probe;
    my (undef, $said) = output_of(qw(uwsgi --plugins psgi --no-server --need-app --psgi), $probe->filename);
    return 'uwsgi with its psgi plugin cannot be run' if $said !~ /^perl: (.*)$/m;
    return $1 eq "$Config{version} $Config{archname}" ? undef : "uwsgi was built for another perl: $1";
}

sub _plackup {
    my ($self, $psgi, @more) = @_;
    my @perl = ($^X, '-MPlack::Runner', '-e', 'Plack::Runner->run(@ARGV)', '--');
    return (@perl, '-s', $self->{name}, qw(-E deployment --listen), $self->_listens, '-a', $psgi, @more);
}

# The arguments for a certificate and its key, by the names of a server's options.
sub _tls {
    my ($certificate, @names) = @_;
    return if !$certificate;
    return ('--ssl', 1, map { $names[$_] => $certificate->[$_] } 0, 1);
}

sub _uwsgi {
    my ($self, $psgi, $workers, $socket, @certificate) = @_;
    return (
        qw(uwsgi --plugins psgi --master --die-on-term --need-app --psgi-enable-psgix-io --disable-logging),
        $socket,     join(',', $self->_listens, @certificate),
        '--workers', $workers || 3,
        '--psgi',    $psgi
    );
}

1;
