package EventSource::XS::Command::Doctor;
use strict;
use warnings;

# The command `eventsource doctor`: reads the command line, examines the stream or the outbox, prints the report.

use EventSource::XS::Command;
use EventSource::XS::Command::Outbox;
use EventSource::XS::Doctor;
use EventSource::XS::Doctor::Report;
use EventSource::XS::Hub::HubName;
use EventSource::XS::Outbox::Database;
use Getopt::Long ();
use POSIX        ();
use URI;

my $COMMAND = 'EventSource::XS::Command';

my %EXIT = (fine => 0, wrong => 1, usage => 2, unreachable => 3);

my $USAGE = <<'USAGE';
usage: eventsource doctor [OPTIONS] URL
       eventsource doctor --dsn DSN [OPTIONS] [URL]

Reads an event stream as a client, and says what is wrong with it and how to mend it. With --dsn looks at the table of an
outbox, too, or alone.

  --seconds N          how long to read the stream (default: 20)
  --trigger COMMAND    causes an event, to measure when it arrives; runs in a shell
  --hub NAME           publishes that event to this named hub
  --channel CHANNEL    with --hub: the channel, which the stream reads
  --socket PATH        with --hub: its socket, if it is not in the folder of this user
  --workers PID,PID    with --hub: its workers, not those connected to it
  --dsn DSN            the database of an outbox, such as dbi:Pg:dbname=shop
  --user USER          with --dsn: its user
  --password-from FILE with --dsn: the file with the password (default: EVENTSOURCE_OUTBOX_PASSWORD in the environment)
  --table TABLE        with --dsn: the table (default: eventsource_outbox)
  --method METHOD      of the request (default: GET, or POST with --data)
  --data TEXT          the body of the request; @FILE reads it from a file
  --header 'NAME: VALUE'  one more header; may be repeated
  --cookie COOKIE      the header Cookie
  --origin ORIGIN      checks that pages of this origin may read the stream, such as https://example.org
  --insecure           takes any certificate
  --json               prints one object in JSON
  --help               prints this text

Exit codes: 0 nothing is wrong (there may be warnings), 1 something is wrong, 2 usage, 3 no connection.
USAGE

# Public methods

sub run {
    my ($class,  @arguments) = @_;
    my ($option, $trouble)   = _options(@arguments);
    if ($option->{help}) {
        $COMMAND->print($USAGE);
        return $EXIT{fine};
    }
    if (defined $trouble) {
        $COMMAND->complain('doctor', $trouble);
        print STDERR "\n$USAGE";
        return $EXIT{usage};
    }
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

# The rules of values; each returns the mistake, or nothing.
my %CHECK = (
    seconds => sub {
        return $_[0] =~ /\A(?:[0-9]+\.?[0-9]*|\.[0-9]+)\z/ && $_[0] > 0 && $_[0] <= 86_400
            ? ()
            : 'must be a number of seconds above 0, at most 86400';
    },
    method  => sub { return $_[0] =~ /\A[A-Za-z]+\z/ ? ()                 : 'must be a method of HTTP, such as POST' },
    cookie  => sub { return $_[0] =~ /[\r\n\0]/      ? 'must be one line' : () },
    channel => sub { return length $_[0]                                          ? () : 'must not be empty' },
    hub     => sub { return defined EventSource::XS::Hub::HubName->problem($_[0]) ? 'must be the name of a hub' : () },
    origin  => sub {
        return $_[0] =~ m{\A(?:[a-z][a-z0-9+.-]*://[^\s/]+|null)\z}
            ? ()
            : 'must be an origin, such as https://example.org';
    },
    table => sub {
        my $problem = EventSource::XS::Outbox::Database->problem_of_table($_[0]);
        return defined $problem ? $problem =~ s/\Atable //r : ();
    },
    workers => sub { return $_[0] =~ /\A[0-9]+(?:,[0-9]+)*\z/ ? () : 'must be process ids, such as 4711,4712' },
);

# Returns the options, and what is wrong with them.
sub _options {
    my @arguments = @_;
    my %option    = (seconds => 20, header => []);
    my $parser    = Getopt::Long::Parser->new(config => [qw(no_auto_abbrev no_ignore_case)]);
    my @names     = map { "$_=s" } qw(
        channel cookie data dsn hub method origin password-from seconds socket table trigger user workers
    );
    my $trouble;
    {
        local $SIG{__WARN__} = sub { $trouble = lcfirst shift if !defined $trouble };
        $parser->getoptionsfromarray(\@arguments, \%option, @names, 'header=s@', qw(insecure json help));
    }
    chomp $trouble              if defined $trouble;
    return (\%option, $trouble) if defined $trouble || $option{help};
    $trouble = _read_url(\%option, @arguments);
    return (\%option, $trouble) if defined $trouble;
    for my $name (grep { defined $option{$_} } sort keys %CHECK) {
        my ($wrong) = $CHECK{$name}->($option{$name});
        return (\%option, "--$name $wrong") if defined $wrong;
    }
    return (\%option, _read_data(\%option) || _read_headers(\%option) || _read_hub(\%option) || _read_outbox(\%option));
}

sub _read_data {
    my $option = shift;
    return                     if !defined $option->{data};
    $option->{method} = 'POST' if !defined $option->{method};
    if ($option->{data} =~ /\A\@(.+)\z/s) {
        my $path = $1;
        open my $file, '<:raw', $path or return "--data: $path: $!";
        $option->{data} = do { local $/ = undef; readline $file };
        $option->{data} = '' if !defined $option->{data};
    }
    return;
}

sub _read_headers {
    my $option = shift;
    my @headers;
    for my $line (@{delete $option->{header}}) {
        my ($name, $value) = $line =~ /\A([!#\$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*\z/
            or return "--header must be 'NAME: VALUE', not '$line'";
        push @headers, [$name, $value];
    }
    $option->{headers} = \@headers;
    $option->{method}  = uc $option->{method} if defined $option->{method};
    return;
}

sub _read_hub {
    my $option = shift;
    $option->{workers} = [split /,/, $option->{workers}] if defined $option->{workers};
    for my $name (qw(channel socket workers)) {
        return "--$name needs --hub" if defined $option->{$name} && !defined $option->{hub};
    }
    return;
}

sub _read_outbox {
    my $option = shift;
    for my $name (qw(password-from table user)) {
        return "--$name needs --dsn" if defined $option->{$name} && !defined $option->{dsn};
    }
    return if !defined $option->{dsn};
    local ($@, $SIG{__DIE__});
    $option->{connect_database} = eval { EventSource::XS::Command::Outbox->connector($option) }
        or return $COMMAND->message_of($@);
    $option->{table} = EventSource::XS::Outbox::Database->default_table if !defined $option->{table};
    return;
}

sub _read_url {
    my ($option, @arguments) = @_;
    return 'only one URL'                                if @arguments > 1;
    return defined $option->{dsn} ? undef : 'which URL?' if !@arguments;
    my $url = URI->new($arguments[0]);
    return "the URL must begin with http:// or https://, not '$arguments[0]'"
        if ($url->scheme || '') !~ /\Ahttps?\z/ || !length($url->host || '');
    $option->{url} = $arguments[0] =~ s/#.*//sr;
    return;
}

sub _unreachable {
    my $failure  = shift;
    my $sentence = ucfirst $COMMAND->visible($failure->{sentence});
    $sentence .= '.' if $sentence !~ /[.]\z/;
    my $remedy =
        $failure->{where} eq 'connect'
        ? 'Check the host, the port, and that the server runs; a firewall may be between.'
        : $failure->{where} eq 'head' ? 'Check that the port speaks HTTP/1.1; for TLS write https://.'
        : $sentence =~ /certificate|verify/i
        ? 'Let the server send a valid certificate with its chain; --insecure takes any.'
        : $sentence =~ /needs the module/ ? undef
        :                                   'Check that the port speaks TLS; without TLS write http://.';
    return "$sentence\n" . (defined $remedy ? "Remedy: $remedy\n" : '');
}

1;
