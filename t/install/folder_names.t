# The library loads, a hub process starts and errors of json are readable below folders whose names have blanks, other
# characters and bytes that are not UTF-8.

use lib 't/lib';
use Testing;
use EventSource::Hub::Process;
use Testing::Developer  qw(needs needs_command);
use Testing::SourceTree qw(write_file);

needs_command('cp');
needs(eval { EventSource::Hub::Process->program; 1 } ? undef : $@->message);

my $temporary = new_folder;
my $root      = $temporary->dirname;

# Prints, as lines: an event, the program of the hub process, an id of the hub, and two errors of json.
my $PROGRAM = <<'PROGRAM';
use EventSource::Hub;
use EventSource::XS qw(format_event);
print format_event(data => 7) =~ s/\n+/\n/r;
print EventSource::Hub::Process->program, "\n";
my $hub = EventSource::Hub->new(name => 'folder', socket => shift);
print $hub->publish(news => {data => 1}), "\n";
eval { format_event(json => \*STDIN) };
print $@->message, "\n";
eval { format_event(json => bless {}, 'Dies') };
print $@->message, "\n";
sub Dies::TO_JSON { die 'no, at all' }
PROGRAM

# A folder of this name that has the library; as bytes.
sub folder {
    my $name = shift;
    utf8::encode(my $path = "$root/folder/");
    $path .= $name;
    system('mkdir', '-p', $path) == 0 and system('cp', '-a', 'blib', $path) == 0 or die "$path: cannot copy blib\n";
    return $path;
}

# Runs the program in the folder, after words that load the library from there.
sub works {
    my ($folder, $socket, $begin, @options) = @_;
    my $file = "$folder/program.pl";
    write_file($file, join('', $begin, $PROGRAM));
    my @command = ('cd "$0" && unset PERL5LIB && exec "$@" 2>&1', $folder, $^X, @options, 'program.pl', $socket);
    open my $from, '-|', '/bin/sh', '-c', @command or die "perl: $!\n";
    chomp(my @lines = readline $from);
    close $from;
    is $lines[0], 'data: 7',                                               'the library loads';
    is $lines[1], "$folder/blib/arch/auto/EventSource/XS/eventsource-hub", 'the program is beside it';
    like $lines[2], qr/\A[a-z0-9]+-1\z/,                   'the hub process starts';
    like $lines[3], qr/\AEventSource::XS: json: [^\/]+\z/, 'an error of json names no file';
    is $lines[4], 'EventSource::XS: json: no, at all', 'nor does one of the application';
    ok -S $socket, 'its socket is where it belongs';
    eval { EventSource::Hub::Process->stop(name => 'folder', socket => $socket); 1 } or diag $@;
    return;
}

my $umlaut = folder("\xC3\xA4 b");
subtest 'a program with use utf8, below a folder with an umlaut and a blank' => sub {
    works($umlaut, "$umlaut/hub.sock", qq{use utf8; use lib "$umlaut/blib/lib", "$umlaut/blib/arch";\n});
};

subtest 'the same folder, from the command line' => sub {
    works($umlaut, "$umlaut/hub.sock", '', "-I$umlaut/blib/lib", "-I$umlaut/blib/arch");
};

subtest 'the same folder, relative' => sub {
    works($umlaut, "$umlaut/hub.sock", '', '-Mutf8', '-Iblib/lib', '-Iblib/arch');
};

# The path of a socket is UTF-8.
subtest 'a folder whose name is not UTF-8' => sub {
    my $latin = folder("\xE4 b");
    works($latin, "$root/hub.sock", '', "-I$latin/blib/lib", "-I$latin/blib/arch");
};

done_testing;
