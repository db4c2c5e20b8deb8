# The library is built with the headers of the perl that ran Makefile.PL.

use lib 't/lib';
use Testing;
use Config;
use Testing::Developer  qw(needs needs_command);
use File::Copy          qw(copy);
use File::Path          qw(remove_tree);
use Testing::SourceTree qw(slurp write_file);

needs_command($_) for qw(cargo make cp);

my $MARK  = 'headers_of_another_perl';
my $LOADS = 'use EventSource::XS qw(format_event); print format_event(data => 7)';
my @BLIB  = qw(-Iblib/lib -Iblib/arch);

# Without eventsource-hub, which is the same for every perl.
my $tree = Testing::SourceTree->new;
remove_tree($tree->folder . '/hub_process');
my $library = $tree->folder . "/blib/arch/auto/EventSource/XS/XS.$Config{dlext}";

# A perl at another path. Each library that is built with its headers contains a mark.
my $other   = $tree->fresh('other_perl');
my $modules = $tree->fresh('other_perl_modules');
copy($^X, "$other/perl") or die "$other/perl: $!\n";
chmod 0755, "$other/perl";
$tree->must('cp', '-R', "$Config{archlibexp}/CORE", "$Config{archlibexp}/Config.pm", $other);
chmod 0644, "$other/CORE/perl.h";
open my $header, '>>', "$other/CORE/perl.h" or die "perl.h: $!\n";
print {$header} <<"MARK";
static const char *volatile esx_mark;
__attribute__((constructor)) static void esx_set_mark(void) { esx_mark = "$MARK"; }
MARK
close $header;
write_file("$modules/OtherPerl.pm",
    qq{use Config; (tied %Config)->{archlibexp} = '$other' if \$^X eq '$other/perl'; 1;\n});
my %OTHER = (PERL5LIB => $modules, PERL5OPT => '-MOtherPerl');

sub is_marked { return slurp($library) =~ /$MARK/ }

needs('a copy of this perl does not run') if $tree->run(\%OTHER, "$other/perl", '-e', '1')->{status};

subtest "another perl's library is built with its own headers" => sub {
    $tree->must(\%OTHER, "$other/perl", 'Makefile.PL');
    $tree->must(\%OTHER, 'make');
    ok is_marked(), "the library has the mark of the other perl's headers";
    is $tree->must(\%OTHER, "$other/perl", @BLIB, '-e', $LOADS), "data: 7\n\n", 'the library loads in the other perl';
};

subtest "this perl's library is built after another perl's in the same folder" => sub {
    $tree->must(\%OTHER, $^X, 'Makefile.PL');
    like $tree->must(\%OTHER, 'make'), qr{script/build}, 'the library is built again';
    unlike slurp($library),            qr/$MARK/,        "the library has no mark of the other perl's headers";
    is $tree->must($^X, @BLIB, '-e', $LOADS), "data: 7\n\n", 'the library loads in the perl that it was built for';
};

subtest 'a library is built for a perl with debugging' => sub {
    needs_command('debugperl');
    my ($debugperl) = grep { -x } map { "$_/debugperl" } split /:/, $ENV{PATH};
    $tree->must($debugperl, 'Makefile.PL');
    $tree->must('make');
    is $tree->must($debugperl, @BLIB, '-e', $LOADS), "data: 7\n\n",
        'the library loads in the perl that it was built for';
};

done_testing;
