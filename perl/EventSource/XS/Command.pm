package EventSource::XS::Command;
use strict;
use warnings;

# The command line `eventsource`: finds the command, runs it, and turns what went wrong into one line and an exit code. What
# commands share is here; each command has a module of its own below. They only read arguments, call the library and print.

our $VERSION = '0.100';

use EventSource::XS::Reason;
use EventSource::XS::UTF8;
use Getopt::Long  qw(GetOptionsFromArray);
use IO::Handle    ();
use JSON::MaybeXS ();
use List::Util    qw(first min);
use POSIX         qw(floor strftime);
use Scalar::Util  qw(blessed);
use Time::HiRes   qw(sleep);

# In the order of the help: the name, a description, and the module if its name is not that of the command.
my @COMMANDS = (
    [publish  => 'publish events to a channel'],
    [forget   => 'forget a key of the state of a channel', 'Call'],
    [tail     => 'print events as they come, of a hub or of a URL'],
    [stats    => 'print the counts of a hub', 'Call'],
    [admin    => 'show a hub in a browser'],
    [channels => 'list the channels of a hub',              'Call'],
    [members  => 'list the members of a channel',           'Call'],
    [end      => 'end the streams of a user, or of topics', 'Call'],
    [outbox   => 'publish what transactions have written into a table'],
    [xmpp     => 'publish the items of nodes of an XMPP service', 'XMPP'],
    [hub      => 'start, list, check, log, drain, back up, upgrade and stop the processes of hubs'],
    [doctor   => 'find out what keeps a stream from working'],
);

my %EXIT_CODE = (invalid => 5, full => 5, refused => 5, state => 5, timeout => 4, unavailable => 3, unknown => 4);
my ($FAILED, $USAGE) = (1, 2);

my $LONGEST_PAUSE = 1;    # seconds between two attempts to connect

# A character of UTF-8 that is not a control character.
my $PLAIN = qr/
    [\x20-\x7E\t\n] | \xC2[\xA0-\xBF] | [\xC3-\xDF][\x80-\xBF]
    | \xE0[\xA0-\xBF][\x80-\xBF] | [\xE1-\xEF][\x80-\xBF]{2}
    | \xF0[\x90-\xBF][\x80-\xBF]{2} | [\xF1-\xF4][\x80-\xBF]{3}
/x;

my $JSON = JSON::MaybeXS->new(utf8 => 1, allow_nonref => 1, canonical => 1);

# Public methods

# A text that names an argument has its bytes.
sub complain {
    my ($class, $name, $text) = @_;
    utf8::decode($text) if !utf8::is_utf8($text);
    $text =~ s/\s*\n\s*/ /g;
    my $line = join(' ', 'eventsource', length $name ? $name : ()) . ': ' . $class->visible($text) . "\n";
    utf8::encode($line);
    CORE::print {*STDERR} $line;
    return;
}

# Connects as the options of a command say.
sub connect {
    my ($class, $option, %default) = @_;
    require EventSource::Hub::Process;
    my @timeout = defined $option->{timeout} ? (timeout => $option->{timeout}) : ();
    return EventSource::Hub::Process->connect(%default, $class->settings_of_hub($option), @timeout);
}

# Waits for the next hub process, to which code connects, or until code says that the wait is over. The pauses begin with one in
# seconds and grow up to a second. Returns true if it is connected.
sub connect_again {
    my ($class, $name, $pause, $connect, $is_over) = @_;
    my $has_said;
    until ($is_over->()) {
        sleep $pause;
        if (eval { $connect->(); 1 }) {
            $class->complain($name, 'connected again') if $has_said;
            return 1;
        }
        die $@                                                                         if !$class->is_broken($@);
        $class->complain($name, 'the hub process has ended; waiting for the next one') if !$has_said++;
        $pause = min($pause * 2, $LONGEST_PAUSE);
    }
    return;
}

# Ends the command: there is nothing left to do.
sub end { die bless {}, 'EventSource::XS::Command::Done' }

sub exit_code {
    my ($class, $error) = @_;
    return $USAGE  if blessed $error && $error->isa('EventSource::XS::Command::Usage');
    return $FAILED if !blessed $error || !$error->isa('EventSource::Error');
    return $USAGE
        if $error->code eq 'invalid'
        && ($error->field || '') =~ /\A(?:dbh|name|pattern|seconds|show_channel|socket|start|timeout)\z/;
    return $class->exit_code_of($error->code);
}

sub exit_code_of {
    my ($class, $code) = @_;
    return $EXIT_CODE{$code} || $FAILED;
}

# True if the connection has broken, or the hub does not answer.
sub is_broken { return $_[0]->exit_code($_[1]) =~ /\A[34]\z/ }

sub json {
    my ($class, $value) = @_;
    my $bytes = $JSON->encode($value);
    $bytes =~ s/(\x7F|\xC2[\x80-\x9F])/sprintf '\\u%04x', ord substr $1, -1/ge;    # JSON escapes C0 only
    return $bytes;
}

sub message_of { return EventSource::XS::Reason->message_of($_[1]) }

# The options of a command, with those that all have. Prints the help if it is asked for, and ends the command then.
sub options {
    my ($class, $name, $arguments, @specification) = @_;
    my %option;
    my @problems;
    local $SIG{__WARN__} = sub { push @problems, $_[0] };
    Getopt::Long::Configure(qw(default bundling no_ignore_case permute));
    GetOptionsFromArray($arguments, \%option, 'help|h|?', @specification);
    $class->usage(join ' ', map { s/\s+\z//r } @problems) if @problems;
    return \%option                                       if !$option{help};
    $class->print_help($name);
    return $class->end;
}

# Prints bytes of UTF-8. A program that reads them gets them as they are; a terminal gets no control character of a remote
# side, but for tabs and line feeds, and nothing that is not UTF-8, because some terminals take it for one of C1. Ends the
# command if nobody reads them any more, as after `| head`.
sub print {
    my ($class, $bytes) = @_;
    if (-t STDOUT) {    ## no critic (ProhibitInteractiveTest) a terminal matters, whoever sits before it
        $bytes =~ s/($PLAIN+)|\xC2?([\x80-\x9F])|(.)/$1 \/\/ sprintf '\\x%02X', ord($2 \/\/ $3)/gse;
    }
    return             if CORE::print {*STDOUT} $bytes and STDOUT->flush;
    return $class->end if $!{EPIPE};
    die "cannot write to the standard output: $!\n";
}

# Prints one of a list: its fields, or with the option json all that is known of it.
sub print_item {
    my ($class, $option, $item, @fields) = @_;
    return $class->print($option->{json} ? $class->json($item) . "\n" : $class->line(@fields));
}

# The names of a list's columns, for a person: programs that read the list get the list alone.
sub print_heading {
    my ($class, $option, @columns) = @_;
    return if $option->{json} || !-t STDOUT;    ## no critic (ProhibitInteractiveTest) a terminal matters
    $class->print($class->line(@columns));
    return;
}

# The part of the manual of bin/eventsource that is about a command; without one, a line for each.
sub print_help {
    my ($class, $name) = @_;
    return $class->print(_overview()) if !defined $name;
    require Pod::Usage;
    open my $page, '>:raw', \my $text or die "cannot print the manual: $!\n";
    my @part = (-sections => ["COMMANDS/$name"], -verbose => 99);
    Pod::Usage::pod2usage(-input => $class->_manual, -output => $page, -exitval => 'NOEXIT', @part);
    close $page or die "cannot print the manual: $!\n";
    return $class->print($text);
}

# Dies if the standard input is closed. Then perl opens the program as descriptor 0, and STDIN would read what follows its
# __END__.
sub require_input {
    my $class   = shift;
    my $program = do { no warnings 'once'; fileno main::DATA };
    return if -e STDIN && !(defined $program && $program == 0);
    return $class->usage('the standard input is closed');
}

# All that comes in and goes out is bytes. With PERL_UNICODE or -C perl has decoded the arguments, and would encode once more.
sub run {
    my ($class, @arguments) = @_;
    local $SIG{PIPE} = 'IGNORE';
    binmode $_ for *STDIN, *STDOUT, *STDERR;
    utf8::encode($_) for grep { utf8::is_utf8($_) } @arguments;
    my $name = shift @arguments;
    my $code;
    return $code // 0 if eval { $code = $class->_dispatch($name, @arguments); 1 };
    my $error = $@;
    return 0 if blessed $error && $error->isa('EventSource::XS::Command::Done');
    my $is_command = defined $name && grep { $_->[0] eq $name } @COMMANDS;
    my $hint = $class->exit_code($error) == $USAGE ? '; eventsource ' . ($is_command ? "$name " : '') . '--help' : '';
    $class->complain($is_command ? $name : '', $class->message_of($error) . $hint);
    return $class->exit_code($error);
}

# A text for one field of a line: separators are escaped, so that each line has the same fields.
sub field {
    my ($class, $text) = @_;
    my %escape = ("\\" => "\\\\", "\t" => "\\t", "\n" => "\\n", "\r" => "\\r");
    $text =~ s/([\\\t\n\r])/$escape{$1}/g;
    return $class->visible($text);
}

# A line of fields of characters, as bytes.
sub line {
    my ($class, @fields) = @_;
    my $line = join("\t", map { $class->field($_) } @fields) . "\n";
    utf8::encode($line);
    return $line;
}

# The first line of a file, or a variable of the environment: everybody can see the command line of a process.
sub secret {
    my ($class, $file, $variable) = @_;
    return $ENV{$variable} if !defined $file;
    open my $lines, '<:raw', $file or die "$file: $!\n";
    my $secret = readline $lines;
    return defined $secret ? $secret =~ s/\r?\n\z//r : '';
}

# Characters, from an argument or a line of input in UTF-8.
sub text {
    my ($class, $what, $bytes) = @_;
    my $text = EventSource::XS::UTF8->decode($bytes);
    return defined $text ? $text : $class->usage("$what is not UTF-8");
}

# A channel, or a pattern of channels.
sub topic {
    my ($class, @text) = @_;
    require EventSource::XS::Hub::Name;
    my $name = $class->text(@text);
    return $name =~ /[*]/ ? EventSource::XS::Hub::Name->pattern($name) : $name;
}

# The settings of the hub that the options of a command name. A command that is given none has the hub of the environment.
sub settings_of_hub {
    my ($class, $option) = @_;
    my $name = first { defined } $option->{hub}, $ENV{EVENTSOURCE_HUB};
    $class->usage('which hub? --hub NAME') if !defined $name;
    my %setting = (name => $name, map { $_ => $option->{$_} } qw(autostart socket));
    $setting{show_channel} = $option->{'show-channel'};
    return map { defined $setting{$_} ? ($_ => $setting{$_}) : () } keys %setting;
}

sub usage {
    my ($class, $text) = @_;
    die bless {text => $text}, 'EventSource::XS::Command::Usage';
}

# A time in UTC, as ISO 8601 has it.
sub utc {
    my ($class, $time) = @_;
    my $milliseconds = floor(1000 * $time + 0.5);
    return strftime('%Y-%m-%dT%H:%M:%S', gmtime floor($milliseconds / 1000)) . sprintf '.%03dZ', $milliseconds % 1000;
}

# A text without control characters.
sub visible { return EventSource::XS::Reason->visible($_[1]) }

# Private methods

sub _dispatch {
    my ($class, $name, @arguments) = @_;
    $class->usage('which command?')                if !defined $name;
    return $class->_help(@arguments)               if $name =~ /\A(?:help|-h|-\?|--help)\z/;
    return $class->print("eventsource $VERSION\n") if $name eq '--version';
    my $command = first { $_->[0] eq $name } @COMMANDS or $class->usage("unknown command $name");
    my $module  = $class . '::' . ($command->[2] || ucfirst $name);
    my $file    = ($module =~ s{::}{/}gr) . '.pm';
    if (!eval { require $file }) {
        die $@ if $@ !~ /\ACan't locate \Q$file\E /;
        die "the command $name is not installed\n";
    }
    my $method = $module->can('run') || $module->can($name);
    return $module->$method(@arguments);
}

sub _help {
    my ($class, $name) = @_;
    $class->usage("unknown command $name") if defined $name && !grep { $_->[0] eq $name } @COMMANDS;
    return $class->print_help($name);
}

sub _overview {
    my $text = "usage: eventsource COMMAND ...\n\n";
    $text .= sprintf "  %-10s%s\n", @$_[0, 1] for @COMMANDS;
    return "$text\neventsource COMMAND --help prints the manual of a command.\n";
}

# The program has the manual. Somebody else who calls this module finds the program beside the perl or in the path.
sub _manual {
    require File::Spec;
    my @places = ($0, map { File::Spec->catfile($_, 'eventsource') } File::Spec->path);
    my $manual = first { m{(?:\A|/)eventsource\z} && -f } @places;
    return defined $manual ? $manual : die "the manual is in the program eventsource, which is not in the path\n";
}

package EventSource::XS::Command::Usage;

use overload '""' => sub { $_[0]{text} }, fallback => 1;

1;
