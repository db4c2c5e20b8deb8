package EventSource::XS::Command::Doctor;
use strict;
use warnings;

# The command `eventsource doctor`: reads the command line, examines the stream or the outbox, prints the report.

use EventSource::XS::Client::Source;
use EventSource::XS::Command;
use EventSource::XS::Command::Outbox;
use EventSource::XS::Doctor;
use EventSource::XS::Doctor::Report;
use EventSource::XS::Hub::Name;
use EventSource::XS::Outbox::Database;
use EventSource::XS::Reason;
use POSIX ();
use URI;

my $COMMAND = 'EventSource::XS::Command';

my %EXIT = (fine => 0, wrong => 1, unreachable => 3);

# The remedy for a request that has failed, by where.
my %REMEDY = (
    certificate => 'Let the server send a valid certificate with its chain; --insecure takes any.',
    connect     => 'Check the host, the port, and that the server runs; a firewall may be between.',
    head        => 'Check that the port speaks HTTP/1.1; for TLS write https://.',
    tls         => 'Check that the port speaks TLS; without TLS write http://.',
);

# Public methods

sub run {
    my ($class, @arguments) = @_;
    my $option  = _options(@arguments);
    my $is_json = delete $option->{json};
    print STDERR "Reading $option->{url} for $option->{seconds} seconds ...\n"
        if defined $option->{url} && !$is_json && POSIX::isatty(2);
    my $doctor  = EventSource::XS::Doctor->new(%$option);
    my @found   = $doctor->examine;
    my $report  = EventSource::XS::Doctor::Report->new($doctor, @found);
    my $failure = $doctor->failure;
    $COMMAND->print($is_json ? $report->json : $failure ? _unreachable($failure) : $report->text);
    return $failure ? $EXIT{unreachable} : $report->count('wrong') ? $EXIT{wrong} : $EXIT{fine};
}

# Private functions

# The pattern of a value, and the mistake if it does not match.
my %VALUE = (
    channel => [qr/./s,                                       'must not be empty'],
    cookie  => [qr/\A[^\r\n\0]*\z/,                           'must be one line'],
    method  => [qr/\A[A-Za-z]+\z/,                            'must be a method of HTTP, such as POST'],
    origin  => [qr{\A(?:[a-z][a-z0-9+.-]*://[^\s/]+|null)\z}, 'must be an origin, such as https://example.org'],
    seconds => [qr/\A(?:[0-9]+\.?[0-9]*|\.[0-9]+)\z/,         'must be a number of seconds above 0, at most 86400'],
    workers => [qr/\A[0-9]+(?:,[0-9]+)*\z/,                   'must be process ids, such as 4711,4712'],
);

# The options that need another one.
my %NEEDED =
    (channel => 'hub', 'password-from' => 'dsn', socket => 'hub', table => 'dsn', user => 'dsn', workers => 'hub');

sub _options {
    my @arguments = @_;
    my @names     = map { "$_=s" } qw(
        channel cookie data dsn hub method origin password-from seconds socket table trigger user workers
    );
    my $option  = $COMMAND->options('doctor', \@arguments, @names, qw(header=s@ insecure json tickets));
    my $seconds = $option->{seconds} //= 20;
    _read_url($option, @arguments);
    for my $name (grep { defined $option->{$_} } sort keys %VALUE) {
        my ($right, $mistake) = @{$VALUE{$name}};
        $COMMAND->usage("--$name $mistake")
            if $option->{$name} !~ $right || $name eq 'seconds' && !($seconds > 0 && $seconds <= 86_400);
    }
    $COMMAND->usage('--hub must be the name of a hub')
        if defined $option->{hub} && defined EventSource::XS::Hub::Name->problem_of_hub($option->{hub});
    for my $name (grep { defined $option->{$_} && !defined $option->{$NEEDED{$_}} } sort keys %NEEDED) {
        $COMMAND->usage("--$name needs --$NEEDED{$name}");
    }
    $option->{method}  = uc($option->{method} // (defined $option->{data} ? 'POST' : 'GET'));
    $option->{workers} = [split /,/, $option->{workers}] if defined $option->{workers};
    $_->($option) for \&_read_data, \&_read_headers, \&_read_outbox;
    return $option;
}

sub _read_data {
    my $option = shift;
    my ($path) = ($option->{data} // '') =~ /\A\@(.+)\z/s or return;
    open my $file, '<:raw', $path or $COMMAND->usage("--data: $path: $!");
    local $/ = undef;
    $option->{data} = readline($file) // '';
    return;
}

# Cookies become those of --cookie: a ticket joins them.
sub _read_headers {
    my $option = shift;
    my @headers;
    for my $line (@{delete $option->{header} || []}) {
        my ($name, $value) = $line =~ /\A([!#\$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*\z/
            or $COMMAND->usage("--header must be 'NAME: VALUE', not '$line'");
        $option->{cookie} = join '; ', grep { defined } $option->{cookie}, $value if lc $name eq 'cookie';
        push @headers, [$name, $value] if lc $name ne 'cookie';
    }
    $option->{headers} = \@headers;
    return;
}

sub _read_outbox {
    my $option = shift;
    return if !defined $option->{dsn};
    $option->{table} =
        EventSource::XS::Outbox::Database->table_of($option->{table}, sub { $COMMAND->usage("--$_[0]") });
    $option->{connect_database} = EventSource::XS::Command::Outbox->connector($option);
    return;
}

sub _read_url {
    my ($option, @arguments) = @_;
    $COMMAND->usage('only one URL') if @arguments > 1;
    if (!@arguments) {
        $COMMAND->usage('which URL?') if !defined $option->{dsn};
        return;
    }
    my $problem = EventSource::XS::Client::Source->problem_of(URI->new($arguments[0]));
    $problem = "must begin with http:// or https://, not '$arguments[0]'" if defined $problem && $problem =~ /http/;
    $COMMAND->usage('the URL ' . EventSource::XS::Reason->without_passwords($problem)) if defined $problem;
    my $url = URI->new($arguments[0] =~ s/#.*//sr);
    unshift @{$option->{header}}, map { join ': ', @$_ } EventSource::XS::Client::Source->take_userinfo($url);
    $option->{url} = "$url";
    return;
}

sub _unreachable {
    my $failure  = shift;
    my $sentence = ucfirst $COMMAND->visible($failure->{sentence});
    $sentence .= '.' if $sentence !~ /[.]\z/;
    return "$sentence\n" if $sentence =~ /needs the module/;
    my $trouble = $failure->{where} eq 'tls' && $sentence =~ /certificate|verify/i ? 'certificate' : $failure->{where};
    return "$sentence\nRemedy: " . ($REMEDY{$trouble} // $REMEDY{tls}) . "\n";
}

1;
